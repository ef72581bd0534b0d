// Puts a button beside each password that shows what was typed, and hides it again.

for (const input of document.querySelectorAll('input[type="password"]')) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "nhsuk-button nhsuk-button--secondary nhsuk-button--small dq-show-password";
    button.setAttribute("aria-controls", input.id);
    const row = document.createElement("div");
    row.className = "dq-password";
    input.replaceWith(row);
    row.append(input, button);

    const show = (shown) => {
        input.type = shown ? "text" : "password";
        button.textContent = shown ? "Hide" : "Show";
        button.setAttribute("aria-label", shown ? "Hide the password" : "Show the password");
    };
    button.addEventListener("click", () => show(input.type === "password"));
    // A browser would keep what stands in a field of text.
    input.form?.addEventListener("submit", () => show(false));
    show(false);
}

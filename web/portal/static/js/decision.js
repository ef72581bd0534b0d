// The reader's form: codes found by name, letters filled in, the reading grade as one writes, and a
// draft that is saved as one goes. Everything works without it, by its buttons.

import { CodeSearch } from "./code-search.js";
import { Draft } from "./draft.js";
import { showGrade } from "./reading-grade.js";

const FAILED = "The letters could not be filled in. Try again.";

async function fillLetters(form, status, refresh) {
    const body = new URLSearchParams(new FormData(form));
    const headers = { Accept: "application/json" };
    const answer = await fetch(form.dataset.letters, { method: "POST", body, headers });
    if (!answer.ok) {
        throw new Error("the letters were refused");
    }
    const { texts, notes } = await answer.json();
    for (const [name, text] of Object.entries(texts)) {
        form.elements[name].value = text;
    }
    status.textContent = notes.join(" ") || "Both letters are filled in. Read them before you sign.";
    refresh();
    form.dispatchEvent(new Event("input", { bubbles: true }));
}

function onFill(form, refresh) {
    const button = form.querySelector("[data-fill-letters]");
    const status = form.querySelector("[data-letters-status]");
    button?.addEventListener("click", async (event) => {
        event.preventDefault();
        try {
            await fillLetters(form, status, refresh);
        } catch {
            status.textContent = FAILED;
        }
    });
}

for (const box of document.querySelectorAll("[data-codes]")) {
    new CodeSearch(box);
}
const grades = [...document.querySelectorAll("[data-grade-of]")].map(showGrade);
const form = document.querySelector("form[data-draft]");
if (form) {
    new Draft(form);
    onFill(form, () => grades.forEach((show) => show()));
}

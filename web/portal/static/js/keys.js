// Single keys for people who work with a page all day. An element marked data-key="n" is pressed, or
// focused where it is a field, by that key; j and k walk along the links marked data-row; ? opens the
// list of keys, in which each key is a button. In a group of radio buttons the digits choose. A page
// opens at its errors, or at the heading marked data-start: Tab leads from there into its form.
// Whoever is in the way of the keys switches them off in the list.

const STORE = "dermqueue-single-keys";
const TYPING = "input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]";
const FIELDS = "input, textarea, select";

const list = document.querySelector("[data-key-list]");
const onOff = list?.querySelector("[data-keys-switch]");

function stored() {
    try {
        return localStorage.getItem(STORE) !== "off";
    } catch {
        return true;
    }
}

let on = stored();

function showSwitch() {
    onOff.setAttribute("aria-pressed", String(on));
    onOff.textContent = on ? "Single keys are on" : "Single keys are off";
}

function turn() {
    on = !on;
    try {
        localStorage.setItem(STORE, on ? "on" : "off");
    } catch {
        // Without a store the choice holds for this page.
    }
    showSwitch();
}

function walk(step) {
    const rows = [...document.querySelectorAll("[data-row]")];
    const here = rows.findIndex((row) => row === document.activeElement);
    const next = here < 0 ? (step > 0 ? 0 : rows.length - 1) : here + step;
    rows[Math.min(Math.max(next, 0), rows.length - 1)]?.focus();
}

function openList() {
    list.open = true;
    list.querySelector("summary").focus();
}

function press(key) {
    if (key === "j" || key === "k") {
        walk(key === "j" ? 1 : -1);
        return true;
    }
    if (key === "?") {
        openList();
        return true;
    }
    const target = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (!target) {
        return false;
    }
    if (target.matches(FIELDS)) {
        target.focus();
    } else {
        target.click();
    }
    return true;
}

function choose(radio, digit) {
    const group = [...radio.form.elements].filter((one) => one.name === radio.name);
    const chosen = group[Number(digit) - 1];
    chosen?.focus();
    chosen?.click();
    return chosen !== undefined;
}

function answer(event) {
    const inGroup = event.target.matches?.("form input[type=radio]");
    if (inGroup && /^[1-9]$/.test(event.key)) {
        return choose(event.target, event.key);
    }
    return press(event.key);
}

function start() {
    const errors = document.querySelector("[data-error-summary]:not([hidden])");
    const place = errors ?? document.querySelector("[data-start]");
    if (document.activeElement === document.body && !location.hash) {
        // Without scrolling: whoever looks at the top of the page stays there.
        place?.focus({ preventScroll: !errors });
    }
}

function isForThePage(event) {
    const combined = event.ctrlKey || event.altKey || event.metaKey || event.isComposing;
    return on && !combined && !event.repeat && !event.target.closest?.(TYPING);
}

if (list && onOff) {
    list.querySelector("[data-keys]").hidden = false;
    showSwitch();
    onOff.addEventListener("click", turn);
    list.addEventListener("click", (event) => {
        const key = event.target.closest("[data-press]")?.dataset.press;
        if (key) {
            press(key);
        }
    });
    document.addEventListener("keydown", (event) => {
        const walking = event.key === "j" || event.key === "k";
        const repeated = event.repeat && walking && on && !event.target.closest?.(TYPING);
        if ((isForThePage(event) || repeated) && answer(event)) {
            event.preventDefault();
        }
    });
    if (on) {
        start();
    }
}

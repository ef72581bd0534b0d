// A code found by its name as one types: an ARIA 1.2 combobox with a list. Without this script the
// field takes a typed code, and a page of its own searches the list.

const PAUSE_MS = 150;

export class CodeSearch {
    constructor(box) {
        this.box = box;
        this.input = box.querySelector("input");
        this.title = box.querySelector("[data-code-title]");
        this.form = this.input.form;
        this.found = [];
        this.active = -1;
        this.asked = 0;
        this.list = document.createElement("ul");
        this.list.id = `${this.input.id}-list`;
        this.list.className = "dq-code__list";
        this.list.setAttribute("role", "listbox");
        this.list.setAttribute("aria-label", "Codes");
        this.list.hidden = true;
        this.input.closest(".nhsuk-form-group").after(this.list);
        this.input.removeAttribute("list");
        const attributes = {
            role: "combobox",
            "aria-autocomplete": "list",
            "aria-expanded": "false",
            "aria-controls": this.list.id,
        };
        for (const [name, value] of Object.entries(attributes)) {
            this.input.setAttribute(name, value);
        }
        this.input.addEventListener("input", () => this.onInput());
        this.input.addEventListener("focus", () => this.onFocus());
        this.input.addEventListener("blur", () => this.close());
        this.input.addEventListener("keydown", (event) => this.onKey(event));
        this.list.addEventListener("mousedown", (event) => event.preventDefault());
        this.list.addEventListener("click", (event) => this.onClick(event));
        this.sayTitle();
    }

    group() {
        return this.form.elements.diagnosis?.value ?? "";
    }

    onFocus() {
        if (!this.input.value && this.group() && this.group() !== "other") {
            this.ask();
        }
    }

    onInput() {
        this.title.textContent = "";
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.ask(), PAUSE_MS);
    }

    async fetch(text) {
        // What is searched stays out of the address, which servers write down.
        const body = new URLSearchParams(text ? { q: text } : { group: this.group() });
        body.set("csrf_token", this.form.elements.csrf_token?.value ?? "");
        const headers = { Accept: "application/json" };
        try {
            const answer = await fetch(this.box.dataset.codes, { method: "POST", body, headers });
            return answer.ok ? (await answer.json()).codes : [];
        } catch {
            return [];
        }
    }

    async ask() {
        this.asked += 1;
        const round = this.asked;
        const found = await this.fetch(this.input.value.trim());
        if (round === this.asked && document.activeElement === this.input) {
            this.show(found);
        }
    }

    async sayTitle() {
        const code = this.input.value.trim();
        const known = code ? (await this.fetch(code)).find((one) => one.code === code) : undefined;
        if (this.input.value.trim() === code) {
            this.title.textContent = known?.title ?? "";
        }
    }

    show(found) {
        this.found = found;
        this.active = -1;
        this.list.replaceChildren(...found.map((one, place) => this.option(one, place)));
        this.list.hidden = !found.length;
        this.input.setAttribute("aria-expanded", String(found.length > 0));
        this.input.removeAttribute("aria-activedescendant");
    }

    option(one, place) {
        const option = document.createElement("li");
        option.id = `${this.list.id}-${place}`;
        option.className = "dq-code__option";
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        option.dataset.place = place;
        const code = document.createElement("b");
        code.textContent = one.code;
        option.append(code, ` ${one.title}`);
        return option;
    }

    close() {
        this.asked += 1;
        this.show([]);
    }

    move(step) {
        const many = this.found.length;
        this.active = (this.active + step + many + (this.active < 0 && step < 0 ? 1 : 0)) % many;
        for (const option of this.list.children) {
            const chosen = Number(option.dataset.place) === this.active;
            option.setAttribute("aria-selected", String(chosen));
            if (chosen) {
                option.scrollIntoView({ block: "nearest" });
                this.input.setAttribute("aria-activedescendant", option.id);
            }
        }
    }

    onKey(event) {
        if (event.key === "ArrowDown" && this.list.hidden) {
            this.ask();
        } else if (this.list.hidden) {
            return;
        } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            this.move(event.key === "ArrowDown" ? 1 : -1);
        } else if (event.key === "Enter" && this.active >= 0) {
            this.choose(this.active);
        } else if (event.key === "Escape") {
            this.close();
        } else {
            return;
        }
        event.preventDefault();
    }

    onClick(event) {
        const option = event.target.closest("[role=option]");
        if (option) {
            this.choose(Number(option.dataset.place));
        }
    }

    choose(place) {
        const { code, title, group } = this.found[place];
        this.input.value = code;
        this.title.textContent = title;
        const radios = this.form.elements.diagnosis;
        if (radios && !radios.value && group) {
            radios.value = group;
        }
        this.close();
        this.form.dispatchEvent(new Event("input", { bubbles: true }));
    }
}

// The case form: shows and checks photos as they are chosen, seals them in the browser and sends
// ciphertext. Without this script the same form goes to the server, which seals on arrival.

import { ROOT_PUBLIC_KEY } from "/root-key.js";
import { fromBase64 } from "./bytes.js";
import { seal, SealError, verifyEpochKey } from "./dseal.js";
import { checkPhoto } from "./photo-check.js";
import { reencode } from "./reencode.js";

const WORDS = {
    sealing: "Encrypting your photos…",
    sending: (percent) => `Sending your photos: ${percent} %`,
    sent: "Sent. Opening the next page…",
    useAnyway: "You can still use this photo.",
    looksGood: "This photo looks good.",
    problem: "There is a problem",
    tryAgain: "Try again",
    offline: "We could not reach the server. Nothing is lost: your answers and photos are still here.",
    busy: "The server cannot take your case just now. Nothing is lost: please try again in a minute.",
    signedOut: "You may have been signed out. Sign in again in a new tab, then try again here.",
    tooLarge: "The photos are too large to send. Please choose smaller ones.",
    refused: "The server did not accept this form. Please check your answers and try again.",
    unreadablePhoto: "One photo cannot be read. Please choose another one.",
    wrongKey:
        "This page could not prove the clinic's encryption key, so your photos were not sent. " +
        "Please load the page again. If this goes on, tell your clinic.",
    oldPage: "This page has been open for too long. Please load it again before you send.",
    cannotSeal:
        "Your browser cannot encrypt photos itself. " +
        "You can send them over the secure connection; our server encrypts them on arrival.",
    sendPlain: "Send this way",
};

class UnreadablePhoto extends Error {
    constructor(input) {
        super("a chosen file is no photo");
        this.input = input;
    }
}

class CaseForm {
    constructor(form) {
        this.form = form;
        this.sending = false;
        this.sealed = new WeakMap();
        this.previews = new Map();
        this.status = form.querySelector("[data-upload-status]") ?? addStatus(form);
        form.addEventListener("submit", (event) => this.onSubmit(event));
        for (const input of this.photoInputs()) {
            input.addEventListener("change", () => this.onChosen(input));
        }
        window.addEventListener("pagehide", () => this.dropPreviews());
        window.addEventListener("pageshow", (event) => {
            if (event.persisted) {
                this.setSending(false);
            }
        });
    }

    photoInputs() {
        return [...this.form.querySelectorAll('input[type="file"][data-view]')];
    }

    async onChosen(input) {
        const [file] = input.files;
        this.preview(input, file);
        const feedback = this.form.querySelector(`[data-photo-feedback="${input.dataset.view}"]`);
        if (!feedback) {
            return;
        }
        feedback.setAttribute("aria-live", "polite");
        feedback.replaceChildren();
        const result = file ? await checkPhoto(file) : null;
        if (result && input.files[0] === file) {
            showFeedback(feedback, result);
        }
    }

    preview(input, file) {
        const { view } = input.dataset;
        URL.revokeObjectURL(this.previews.get(view));
        this.previews.delete(view);
        let image = this.form.querySelector(`[data-preview="${view}"]`);
        if (!image) {
            image = document.createElement("img");
            image.dataset.preview = view;
            image.width = 160;
            input.after(image);
        }
        image.hidden = !file;
        if (file) {
            this.previews.set(view, URL.createObjectURL(file));
            image.alt = `Preview of your photo: ${view.replaceAll("_", " ")}`;
            image.src = this.previews.get(view);
        }
    }

    dropPreviews() {
        this.previews.forEach((url) => URL.revokeObjectURL(url));
        this.previews.clear();
    }

    async onSubmit(event) {
        event.preventDefault();
        if (this.sending) {
            return;
        }
        this.setSending(true);
        this.clearErrors();
        try {
            this.say(WORDS.sealing);
            const answer = await this.send(await this.sealedForm());
            this.onAnswer(answer);
        } catch (error) {
            this.setSending(false);
            this.onFailure(error);
        }
    }

    async sealedForm() {
        const root = fromBase64(ROOT_PUBLIC_KEY) ?? new Uint8Array();
        const recipient = await verifyEpochKey(this.form.dataset.epoch, root);
        const fields = new FormData(this.form);
        // Raw files must not leave the page, whatever their field is called.
        for (const [name, value] of [...fields]) {
            if (value instanceof File) {
                fields.delete(name);
            }
        }
        if (!fields.has("submission")) {
            fields.set("submission", this.form.dataset.submission);
        }
        for (const input of this.photoInputs().filter(({ files }) => files.length)) {
            const { view } = input.dataset;
            fields.set(`sealed_${view}`, await this.sealPhoto(input, recipient), `${view}.dseal`);
        }
        return fields;
    }

    /** The container of a photo, the same one at each try, so that a repeat is a true repeat. */
    async sealPhoto(input, recipient) {
        const [file] = input.files;
        const known = this.sealed.get(file);
        if (known) {
            return known;
        }
        const pixels = await reencode(file).catch(() => {
            throw new UnreadablePhoto(input);
        });
        const context = {
            submission: this.form.dataset.submission,
            slot: Number(input.dataset.slot),
            type: "photo",
        };
        try {
            const { container } = await seal(pixels, { context, recipients: [recipient] });
            const blob = new Blob([container], { type: "application/octet-stream" });
            this.sealed.set(file, blob);
            return blob;
        } finally {
            pixels.fill(0);
        }
    }

    send(fields) {
        return new Promise((resolve, reject) => {
            const request = new XMLHttpRequest();
            request.open("POST", this.form.action);
            request.setRequestHeader("Accept", "application/json");
            request.upload.addEventListener("progress", (event) => this.onProgress(event));
            request.addEventListener("load", () => resolve(request));
            for (const name of ["error", "abort", "timeout"]) {
                request.addEventListener(name, () => reject(new TypeError("no connection")));
            }
            request.send(fields);
        });
    }

    onProgress({ loaded, total }) {
        const percent = total ? Math.floor((100 * loaded) / total) : 0;
        this.progress ??= addProgress(this.status);
        this.progress.value = percent;
        // In quarters, or a screen reader would talk all the time.
        this.say(WORDS.sending(percent - (percent % 25)));
    }

    onAnswer(request) {
        const answer = parsed(request.responseText);
        const target = request.status < 300 && sameOrigin(answer?.location);
        if (target) {
            this.say(WORDS.sent);
            this.dropPreviews();
            window.location.assign(target);
            return;
        }
        this.setSending(false);
        if (Array.isArray(answer?.errors) && answer.errors.length) {
            this.say("");
            this.showErrors(answer.errors);
        } else {
            this.sayWithButton(wordsFor(request.status), WORDS.tryAgain, () => this.again());
        }
    }

    onFailure(error) {
        if (error instanceof UnreadablePhoto) {
            this.say("");
            const { name } = error.input;
            this.showErrors([{ field: name, message: WORDS.unreadablePhoto }]);
        } else if (error instanceof SealError) {
            this.onSealError(error);
        } else if (error instanceof TypeError) {
            this.sayWithButton(WORDS.offline, WORDS.tryAgain, () => this.again());
        } else {
            this.sayWithButton(WORDS.busy, WORDS.tryAgain, () => this.again());
            throw error;
        }
    }

    onSealError({ reason }) {
        if (reason === "unsupported") {
            this.sayWithButton(WORDS.cannotSeal, WORDS.sendPlain, () => this.form.submit());
        } else {
            this.say(reason === "outside-epoch" ? WORDS.oldPage : WORDS.wrongKey);
        }
    }

    again() {
        this.form.requestSubmit();
    }

    say(text) {
        if (this.status.textContent !== text) {
            this.status.textContent = text;
        }
    }

    sayWithButton(text, label, action) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "nhsuk-button nhsuk-button--secondary";
        button.textContent = label;
        button.addEventListener("click", action);
        const words = document.createElement("p");
        words.textContent = text;
        this.status.replaceChildren(words, button);
    }

    setSending(sending) {
        this.sending = sending;
        this.form.setAttribute("aria-busy", String(sending));
        if (!sending) {
            this.progress?.remove();
            this.progress = undefined;
        }
    }

    clearErrors() {
        this.form.ownerDocument.querySelector("[data-error-summary]")?.replaceChildren();
    }

    showErrors(errors) {
        const summary =
            document.querySelector("[data-error-summary]") ?? addErrorSummary(this.form);
        const title = document.createElement("h2");
        title.className = "nhsuk-error-summary__title";
        title.textContent = WORDS.problem;
        const list = document.createElement("ul");
        list.className = "nhsuk-list nhsuk-error-summary__list";
        list.append(...errors.map((error) => this.errorItem(error)));
        summary.replaceChildren(title, list);
        summary.hidden = false;
        summary.tabIndex = -1;
        summary.focus();
    }

    errorItem({ field, message }) {
        const item = document.createElement("li");
        const control = this.controlFor(field);
        if (!control) {
            item.textContent = message;
            return item;
        }
        control.id ||= `field-${control.name}`;
        const link = document.createElement("a");
        link.href = `#${control.id}`;
        link.textContent = message;
        link.addEventListener("click", (event) => {
            event.preventDefault();
            control.focus();
        });
        item.append(link);
        return item;
    }

    controlFor(field) {
        const name = String(field ?? "");
        const found =
            this.form.elements.namedItem(name) ??
            this.form.elements.namedItem(name.replace(/^sealed_/, "photo_"));
        return found instanceof RadioNodeList ? found[0] : found;
    }
}

function showFeedback(feedback, { readable, warnings }) {
    const lines = warnings.map(({ text }) => text);
    if (!warnings.length) {
        lines.push(WORDS.looksGood);
    } else if (readable) {
        lines.push(WORDS.useAnyway);
    }
    feedback.replaceChildren(
        ...lines.map((text) => {
            const line = document.createElement("p");
            line.textContent = text;
            return line;
        }),
    );
    feedback.dataset.warnings = warnings.map(({ code }) => code).join(" ");
}

function wordsFor(status) {
    if (status === 401 || status === 403) {
        return WORDS.signedOut;
    }
    if (status === 413) {
        return WORDS.tooLarge;
    }
    return status === 429 || status >= 500 ? WORDS.busy : WORDS.refused;
}

function parsed(text) {
    try {
        return JSON.parse(text);
    } catch {
        return null;
    }
}

function sameOrigin(location) {
    const target = typeof location === "string" ? new URL(location, document.baseURI) : null;
    return target?.origin === window.location.origin ? target.href : null;
}

function addStatus(form) {
    const status = document.createElement("div");
    status.setAttribute("role", "status");
    form.append(status);
    return status;
}

function addProgress(status) {
    const progress = document.createElement("progress");
    progress.max = 100;
    progress.setAttribute("aria-label", "Sending");
    status.after(progress);
    return progress;
}

function addErrorSummary(form) {
    const summary = document.createElement("div");
    summary.dataset.errorSummary = "";
    summary.className = "nhsuk-error-summary";
    form.before(summary);
    return summary;
}

for (const form of document.querySelectorAll("form[data-case-form]")) {
    new CaseForm(form);
}

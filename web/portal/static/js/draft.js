// Saves what a reader types, sealed by the server, a moment after they stop. A page whose draft was
// written on in another tab is told so and saves no more; a lost connection is tried again.

const AFTER_MS = 3_000;
const AGAIN_MS = 10_000;

const WORDS = {
    waiting: "Not saved yet…",
    saved: (time) => `Draft saved at ${time}, encrypted.`,
    offline: "Not saved: no connection. We try again; keep this page open.",
    signedOut:
        "Not saved: you were signed out. Sign in again in a new tab, then go on writing here.",
    lost: "Not saved: you do not hold this case any more. Copy what you need from this page.",
    gone: "Not saved: this case is not here any more.",
    olderTab:
        "You wrote on in another tab. This page is older, so it is not saved any more. " +
        "Copy what you need, then load the page again.",
    tooLong: "Not saved: the texts are too long. Shorten them.",
    refused: "Not saved. Press Save draft to see why.",
};
const FINAL = { 403: WORDS.lost, 404: WORDS.gone, 409: WORDS.olderTab, 410: WORDS.gone };
const PASSING = { 400: WORDS.signedOut, 401: WORDS.signedOut, 413: WORDS.tooLong };

export class Draft {
    constructor(form) {
        this.form = form;
        this.revision = form.elements.draft_revision;
        this.status = form.querySelector("[data-draft-status]");
        this.alert = document.querySelector("[data-draft-alert]");
        this.timer = null;
        this.saving = false;
        this.changed = false;
        this.ended = false;
        form.addEventListener("input", () => this.onInput());
        form.addEventListener("submit", () => this.stop());
        window.addEventListener("online", () => this.changed && this.save());
        document.addEventListener("visibilitychange", () => {
            if (document.hidden && this.changed) {
                this.save();
            }
        });
    }

    onInput() {
        if (this.ended) {
            return;
        }
        this.changed = true;
        this.say(WORDS.waiting);
        this.later(AFTER_MS);
    }

    later(pause) {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.save(), pause);
    }

    stop() {
        clearTimeout(this.timer);
        this.ended = true;
    }

    say(words) {
        this.status.textContent = words;
    }

    end(words) {
        this.stop();
        this.say(words);
        this.alert.hidden = false;
        this.alert.querySelector("p").textContent = words;
    }

    async save() {
        if (this.saving || this.ended) {
            return;
        }
        this.saving = true;
        this.changed = false;
        try {
            const answer = await fetch(this.form.dataset.draft, {
                method: "POST",
                body: new URLSearchParams(new FormData(this.form)),
                headers: { Accept: "application/json" },
                keepalive: document.hidden,
            });
            await this.onAnswer(answer);
        } catch {
            this.changed = true;
            this.say(WORDS.offline);
            this.later(AGAIN_MS);
        } finally {
            this.saving = false;
        }
        if (this.changed && !this.ended && navigator.onLine) {
            this.later(AFTER_MS);
        }
    }

    async onAnswer(answer) {
        if (answer.ok) {
            const saved = await answer.json();
            this.revision.value = saved.revision;
            const time = new Date(saved.saved_at).toLocaleTimeString("en-GB", {
                hour: "2-digit",
                minute: "2-digit",
            });
            this.say(WORDS.saved(time));
        } else if (answer.status in FINAL) {
            this.end(FINAL[answer.status]);
        } else {
            this.say(PASSING[answer.status] ?? WORDS.refused);
            if (answer.status >= 500) {
                this.changed = true;
                this.later(AGAIN_MS);
            }
        }
    }
}

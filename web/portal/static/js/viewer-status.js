// What a viewer says about opening its photos, and the button to try again.

import { SealError } from "./dseal.js";
import { Refusal } from "./grant.js";

export const WORDS = {
    asking: "Opening the photos…",
    shown: "The photos are open.",
    none: "There are no photos to show.",
    broken: "A photo failed its safety check and is not shown. Please tell your administrator.",
    unsupported: "This browser cannot open encrypted photos. Please use a newer one.",
    tryAgain: "Try again",
};

/** @param retry what the button does; without it there is none */
export function say(status, text, retry) {
    const words = document.createElement("span");
    words.textContent = text;
    status?.replaceChildren(words);
    if (status && retry) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "nhsuk-button nhsuk-button--secondary";
        button.textContent = WORDS.tryAgain;
        button.addEventListener("click", retry);
        status.append(" ", button);
    }
}

/** Says why photos are not shown. */
export function explain(status, error, retry) {
    if (error instanceof Refusal) {
        say(status, error.words, retry);
    } else if (error instanceof SealError && error.reason === "unsupported") {
        say(status, WORDS.unsupported);
    } else {
        // Refused by its seal or not a picture: the reason is for the log, the words for people.
        say(status, WORDS.broken);
        console.error(`sealed object refused: ${error.reason ?? error.name}`);
    }
}

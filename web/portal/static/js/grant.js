// Asking for sealed pictures: a grant wraps their file keys to this page's key, then the ciphertext
// is fetched and opened here. Every page that shows or saves pictures goes this way.

import { openSealed } from "./dseal.js";

const POLL_MS = 250;
const PATIENCE_MS = 20_000;
const VIEWER_KID = "viewer";

export const GRANT_WORDS = {
    refused: "You may not see these photos now. Sign in again, or ask who looks after this case.",
    busy: "The photos cannot be opened just now. Please try again in a minute.",
    slow: "Opening the photos takes too long. Please try again.",
};

/** The server, or the keeper behind it, did not give what was asked for. */
export class Refusal extends Error {
    constructor(words) {
        super(words);
        this.words = words;
    }
}

/**
 * @param replaced whether the patient's photos that better ones took the place of are wanted too
 * @returns the objects of the grant, once the keeper has answered
 */
export async function askForObjects({ grantUrl, csrf, publicKey, replaced = false }) {
    const headers = { "Content-Type": "application/json", "X-CSRFToken": csrf ?? "" };
    const body = JSON.stringify({ public_key: publicKey, replaced });
    const grant = await (await ask(grantUrl, { method: "POST", headers, body })).json();
    return pollGrant(grant.url);
}

/** @returns {Promise<Uint8Array>} the picture in clear; whoever has used it fills it with zeros */
export async function openObject(object, { submission, keyPair }) {
    const answer = await ask(object.url, { headers: { Accept: "application/octet-stream" } });
    return openSealed({
        headerText: object.header,
        body: new Uint8Array(await answer.arrayBuffer()),
        kid: VIEWER_KID,
        keyPair,
        expected: { submission, slot: object.slot, type: object.type },
    });
}

export async function ask(url, options) {
    const headers = { Accept: "application/json", ...options.headers };
    const how = { ...options, headers, cache: "no-store", credentials: "same-origin" };
    const answer = await fetch(url, how).catch(() => {
        throw new Refusal(GRANT_WORDS.busy);
    });
    if (answer.ok) {
        return answer;
    }
    const refused = answer.status >= 400 && answer.status < 500 && answer.status !== 429;
    throw new Refusal(refused ? GRANT_WORDS.refused : GRANT_WORDS.busy);
}

async function pollGrant(url) {
    const end = Date.now() + PATIENCE_MS;
    while (Date.now() < end) {
        const answer = await ask(url, {});
        if (answer.status === 200) {
            return (await answer.json()).objects;
        }
        await new Promise((resolve) => {
            setTimeout(resolve, POLL_MS);
        });
    }
    throw new Refusal(GRANT_WORDS.slow);
}

// The patient's archive: the server's plain files, the photos, which only this page can open, and
// the files that the doctor added.

import { fromBase64, utf8 } from "./bytes.js";
import { generateViewerKey, SealError } from "./dseal.js";
import { ask, askForObjects, openObject, Refusal } from "./grant.js";
import { zip } from "./zip.js";

const WORDS = {
    files: "Getting your record…",
    photos: (done, all) => `Opening your photos: case ${done} of ${all}…`,
    made: "Your record is ready. Your browser has saved it as my-record.zip.",
    again: "Confirm your password again. Load this page once more.",
    broken: "A photo failed its safety check, so no file was made. Please tell the clinic.",
};
const TYPES = [
    ["jpg", [0xff, 0xd8, 0xff]],
    ["png", [0x89, 0x50, 0x4e, 0x47]],
    ["webp", [0x52, 0x49, 0x46, 0x46]],
];
const SAVED_AFTER_MS = 60_000;

async function make(section, status) {
    say(status, WORDS.files);
    const record = await plainFiles(section.dataset.recordArchive);
    const files = record.files.map(({ name, content }) => ({ name, bytes: fromBase64(content) }));
    for (const [place, one] of record.cases.entries()) {
        say(status, WORDS.photos(place + 1, record.cases.length));
        files.push(...(await photosOf(one, section.dataset.csrf)));
        files.push(...(await attachmentsOf(one)));
    }
    files.push(await manifest(files, record.made_at));
    save(zip(files, new Date(record.made_at)));
    say(status, WORDS.made);
}

async function plainFiles(url) {
    const answer = await ask(url, {});
    if (answer.redirected) {
        throw new Refusal(WORDS.again);
    }
    return answer.json();
}

async function photosOf({ id, grant_url: grantUrl }, csrf) {
    const { keyPair, publicKey } = await generateViewerKey();
    const objects = await askForObjects({ grantUrl, csrf, publicKey, replaced: true });
    const files = [];
    for (const object of objects) {
        const bytes = await openObject(object, { submission: id, keyPair });
        const name = `${object.slot}-${object.view ?? "photo"}.${suffix(bytes)}`;
        const folder = `photos/${reference(id)}${object.replaced ? "/replaced" : ""}`;
        files.push({ name: `${folder}/${name}`, bytes });
    }
    return files;
}

async function attachmentsOf({ attachments }) {
    const files = [];
    for (const { name, url } of attachments) {
        const answer = await ask(url, {});
        files.push({ name, bytes: new Uint8Array(await answer.arrayBuffer()) });
    }
    return files;
}

/** The short number of a case, as on the portal's pages. */
function reference(id) {
    return `${id.slice(0, 4)}-${id.slice(4, 8)}`.toUpperCase();
}

function suffix(bytes) {
    const found = TYPES.find(([, start]) => start.every((byte, place) => bytes[place] === byte));
    return found ? found[0] : "bin";
}

async function manifest(files, madeAt) {
    const named = [];
    for (const { name, bytes } of files) {
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
        named.push({ name, size: bytes.length, sha256 });
    }
    const text = JSON.stringify({ made_at: madeAt, files: named }, null, 2);
    return { name: "manifest.json", bytes: utf8(`${text}\n`) };
}

function save(archive) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(archive);
    link.download = "my-record.zip";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), SAVED_AFTER_MS);
}

function say(status, words) {
    status.textContent = words;
}

function explain(status, error) {
    if (error instanceof Refusal) {
        say(status, error.words);
        return;
    }
    say(status, WORDS.broken);
    console.error(`archive not made: ${error instanceof SealError ? error.reason : error.name}`);
}

for (const section of document.querySelectorAll("[data-record-archive]")) {
    const button = section.querySelector("[data-archive-start]");
    const status = section.querySelector("[data-archive-status]");
    section.hidden = false;
    button.addEventListener("click", async () => {
        button.disabled = true;
        try {
            await make(section, status);
        } catch (error) {
            explain(status, error);
        } finally {
            button.disabled = false;
        }
    });
}

// Shows a patient their sealed photos: makes a key that dies with the page, asks for the file keys
// to be wrapped to it, opens the ciphertext here and draws it. No plaintext comes from the server.

import { generateViewerKey } from "./dseal.js";
import { askForObjects, openObject } from "./grant.js";
import { explain, say, WORDS } from "./viewer-status.js";
import { startZoom } from "./zoom.js";

async function open(section) {
    const status = section.querySelector("[data-viewer-status]");
    say(status, WORDS.asking);
    try {
        const { keyPair, publicKey } = await generateViewerKey();
        const { grantUrl, csrf } = section.dataset;
        const objects = await askForObjects({ grantUrl, csrf, publicKey });
        for (const object of objects) {
            await show(section, object, keyPair);
        }
        say(status, objects.length ? WORDS.shown : WORDS.none);
    } catch (error) {
        explain(status, error, () => open(section));
    }
}

async function show(section, object, keyPair) {
    const figure = section.querySelector(`figure[data-view="${CSS.escape(object.view)}"]`);
    const canvas = figure?.querySelector("canvas");
    if (!canvas || canvas.dataset.shown) {
        return;
    }
    const { submission } = section.dataset;
    const bytes = await openObject(object, { submission, keyPair });
    try {
        await draw(canvas, bytes);
    } finally {
        bytes.fill(0);
    }
    canvas.dataset.shown = object.type;
}

async function draw(canvas, bytes) {
    const bitmap = await createImageBitmap(new Blob([bytes]));
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
}

/** A page that is left may be kept for the way back: without the pictures, which open anew then. */
function clearOnLeaving(section) {
    window.addEventListener("pagehide", () => {
        for (const canvas of section.querySelectorAll("canvas")) {
            canvas.width = 0;
            canvas.height = 0;
            delete canvas.dataset.shown;
        }
    });
    window.addEventListener("pageshow", (event) => {
        if (event.persisted) {
            open(section);
        }
    });
}

for (const section of document.querySelectorAll("[data-sealed-viewer]")) {
    startZoom(section);
    clearOnLeaving(section);
    open(section);
}

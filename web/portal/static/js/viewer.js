// Shows sealed photos and heat-maps: makes a key that dies with the page, asks for the file keys
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
        // Photos first: a heat-map takes its size from the photo below it.
        objects.sort((a, b) => (a.type === "heatmap") - (b.type === "heatmap"));
        for (const object of objects) {
            await show(section, object, keyPair);
        }
        say(status, objects.length ? WORDS.shown : WORDS.none);
    } catch (error) {
        explain(status, error, () => open(section));
    }
}

async function show(section, object, keyPair) {
    const layer = object.type === "heatmap" ? "heatmap" : "photo";
    const figure = section.querySelector(`figure[data-view="${CSS.escape(object.view)}"]`);
    const canvas = figure?.querySelector(`canvas[data-layer="${layer}"]`);
    if (!canvas || canvas.dataset.shown) {
        // One canvas shows one picture: of several heat-maps the first, for the likeliest class.
        return;
    }
    const { submission } = section.dataset;
    const bytes = await openObject(object, { submission, keyPair });
    try {
        await draw(canvas, bytes, figure.querySelector('canvas[data-layer="photo"]'));
    } finally {
        bytes.fill(0);
    }
    canvas.dataset.shown = object.type;
}

async function draw(canvas, bytes, photo) {
    const bitmap = await createImageBitmap(new Blob([bytes]));
    const size = canvas !== photo && photo?.dataset.shown ? photo : bitmap;
    canvas.width = size.width;
    canvas.height = size.height;
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
}

function startOpacity(section) {
    for (const slider of section.querySelectorAll("input[data-opacity]")) {
        const scope = slider.closest("figure") ?? section;
        const apply = () => {
            const share = Number(slider.value) / Number(slider.max || 100);
            slider.setAttribute("aria-valuetext", `${Math.round(100 * share)} percent`);
            for (const canvas of scope.querySelectorAll('canvas[data-layer="heatmap"]')) {
                canvas.style.opacity = String(share);
            }
        };
        slider.addEventListener("input", apply);
        apply();
    }
}

/** Styles by script, because the content policy rightly refuses style attributes. */
function stack(figure) {
    figure.style.position = "relative";
    const heatmap = figure.querySelector('canvas[data-layer="heatmap"]');
    const photo = figure.querySelector('canvas[data-layer="photo"]');
    for (const canvas of [photo, heatmap]) {
        canvas?.style.setProperty("display", "block");
        canvas?.style.setProperty("width", "100%");
    }
    if (heatmap && photo) {
        // The photo's canvas is the reference, wherever it stands in the figure.
        const follow = () => {
            Object.assign(heatmap.style, {
                position: "absolute",
                top: `${photo.offsetTop}px`,
                left: `${photo.offsetLeft}px`,
                width: `${photo.offsetWidth}px`,
                height: `${photo.offsetHeight}px`,
                pointerEvents: "none",
            });
        };
        new ResizeObserver(follow).observe(photo);
        follow();
    }
}

/** A page that is left may be kept for the way back: without the pictures, which open anew then. */
function clearOnLeaving(section) {
    window.addEventListener("pagehide", () => {
        for (const canvas of section.querySelectorAll("canvas[data-layer]")) {
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
    section.querySelectorAll("figure[data-view]").forEach(stack);
    startOpacity(section);
    startZoom(section);
    clearOnLeaving(section);
    open(section);
}

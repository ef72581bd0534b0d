// One photo in its frame: zoom, pan, turn, light, heat-maps over it, marks on it.

import { OpenSeadragon } from "./openseadragon.js";
import { drawMarks, marksLayer } from "./picture-marks.js";
import { PictureSource } from "./picture-source.js";

const STEP = 1.4;
const PAN_PIXELS = 60;
const CLOSEST = 8; // pixels of the screen for one of the photo
const USUAL_LIGHT = { brightness: 100, contrast: 100 };

const KEYS = {
    "+": "zoom-in",
    "=": "zoom-in",
    "-": "zoom-out",
    0: "fit",
    ArrowLeft: "left",
    ArrowRight: "right",
    ArrowUp: "up",
    ArrowDown: "down",
    r: "turn",
    e: "enlarge",
    h: "next-layer",
    Enter: "mark",
    Escape: "stop",
};

/**
 * Tells of: `active` (somebody works on it), `moved` (it shows another part now), `mark` (a point
 * of the photo was marked: `detail` is its {x, y}) and `wish` (a key asked for what the whole viewer
 * does: `detail` is the action).
 */
export class PicturePane extends EventTarget {
    constructor(figure) {
        super();
        this.figure = figure;
        this.stage = figure.querySelector("[data-stage]");
        this.name = figure.dataset.name;
        this.layers = new Map();
        this.light = { ...USUAL_LIGHT };
        this.forgetMarks();
        this.connectLayerChoice();
    }

    get isOpen() {
        return this.figure.dataset.shown !== undefined;
    }

    get size() {
        return { width: this.bitmap.width, height: this.bitmap.height };
    }

    get stageSize() {
        const { x, y } = this.viewer.viewport.getContainerSize();
        return { width: x, height: y };
    }

    say(words) {
        this.stage.querySelector("[data-pane-message]").textContent = words;
    }

    /** Takes the bitmap over: it is closed with the pane. Resolves when the photo is in its frame. */
    async show(bitmap) {
        this.bitmap = bitmap;
        this.say("");
        const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
        const gestures = { clickToZoom: false, dblClickToZoom: true, flickEnabled: !still };
        this.viewer = new OpenSeadragon.Viewer({
            element: this.stage,
            drawer: "canvas",
            showNavigationControl: false,
            keyboardNavEnabled: false,
            cooperativeGestures: true,
            gestureSettingsMouse: gestures,
            gestureSettingsTouch: gestures,
            gestureSettingsPen: gestures,
            animationTime: still ? 0 : 0.4,
            visibilityRatio: 0.5,
            minZoomImageRatio: 0.5,
            maxZoomPixelRatio: CLOSEST,
        });
        this.marksLayer = marksLayer();
        this.viewer.container.append(this.marksLayer);
        await new Promise((resolve) => {
            this.viewer.addOnceHandler("open", resolve);
            this.viewer.open(new PictureSource(bitmap));
        });
        this.figure.dataset.shown = "photo";
        this.connectViewer();
        this.drawOver();
    }

    connectViewer() {
        const { canvas } = this.viewer;
        canvas.setAttribute("role", "application");
        canvas.setAttribute("aria-label", `${this.name}: plus and minus zoom, arrow keys move`);
        canvas.addEventListener("keydown", (event) => this.onKey(event));
        canvas.addEventListener("focus", () => {
            this.viewer.setCooperativeGestures(false);
            this.tell("active");
        });
        canvas.addEventListener("blur", () => this.letPageScroll());
        for (const name of ["canvas-press", "canvas-pinch", "canvas-double-click"]) {
            this.viewer.addHandler(name, () => this.tell("active"));
        }
        this.viewer.addHandler("canvas-scroll", (event) => {
            if (event.originalEvent.ctrlKey || document.activeElement === canvas) {
                this.tell("active");
            }
        });
        this.viewer.addHandler("canvas-click", (event) => {
            if (event.quick && this.crosshair) {
                this.markAt(event.position);
            }
        });
        this.viewer.addHandler("viewport-change", () => this.tell("moved"));
        for (const name of ["update-viewport", "resize"]) {
            this.viewer.addHandler(name, () => this.drawOver());
        }
    }

    /** Except in full screen, where there is no page to scroll, and while somebody works on it. */
    letPageScroll() {
        const works = document.activeElement === this.viewer.canvas;
        this.viewer.setCooperativeGestures(!works && document.fullscreenElement === null);
    }

    onKey(event) {
        if (event.ctrlKey || event.metaKey || event.altKey) {
            return;
        }
        const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
        if (action === undefined) {
            return;
        }
        event.preventDefault();
        event.stopPropagation();
        if (!this.do(action)) {
            this.tell("wish", action);
        }
    }

    /** @returns whether this is something that the pane does itself */
    do(action) {
        const { viewport } = this.viewer;
        const actions = {
            "zoom-in": () => viewport.zoomBy(STEP),
            "zoom-out": () => viewport.zoomBy(1 / STEP),
            fit: () => viewport.goHome(),
            left: () => this.panBy(-PAN_PIXELS, 0),
            right: () => this.panBy(PAN_PIXELS, 0),
            up: () => this.panBy(0, -PAN_PIXELS),
            down: () => this.panBy(0, PAN_PIXELS),
            turn: () => viewport.setRotation(viewport.getRotation() + 90),
            "next-layer": () => this.nextLayer(),
            mark: () => this.markMiddle(),
            "usual-light": () => this.setLight(USUAL_LIGHT),
        };
        if (!Object.hasOwn(actions, action)) {
            return false;
        }
        actions[action]();
        viewport.applyConstraints();
        return true;
    }

    panBy(x, y) {
        const { viewport } = this.viewer;
        viewport.panBy(viewport.deltaPointsFromPixels(new OpenSeadragon.Point(x, y)));
    }

    /** Everything as it was when the photo was opened, but for the marks. */
    reset() {
        this.viewer.viewport.setRotation(0);
        this.do("fit");
        this.setLight(USUAL_LIGHT);
    }

    /** The middle of the frame in pixels of the photo, the screen's pixels for one, degrees. */
    get view() {
        const { viewport } = this.viewer;
        const { x, y } = viewport.viewportToImageCoordinates(viewport.getCenter(true));
        return {
            centre: { x, y },
            zoom: viewport.viewportToImageZoom(viewport.getZoom(true)),
            turn: viewport.getRotation(true),
        };
    }

    set view({ centre, zoom, turn }) {
        const { viewport } = this.viewer;
        viewport.setRotation(turn, true);
        viewport.zoomTo(viewport.imageToViewportZoom(zoom), null, true);
        viewport.panTo(viewport.imageToViewportCoordinates(centre.x, centre.y), true);
    }

    /** A filter of the frame's canvas: the pixels stay, and no heat-map changes its colours. */
    setLight(light) {
        Object.assign(this.light, light);
        const { brightness, contrast } = this.light;
        const usual = brightness === 100 && contrast === 100;
        const filter = usual ? "" : `brightness(${brightness}%) contrast(${contrast}%)`;
        this.viewer.drawer.canvas.style.filter = filter;
    }

    // Heat-maps

    addLayer(id, bitmap) {
        const canvas = document.createElement("canvas");
        canvas.className = "dq-pane__layer";
        canvas.dataset.layer = id;
        canvas.width = bitmap.width;
        canvas.height = bitmap.height;
        canvas.getContext("2d").drawImage(bitmap, 0, 0);
        bitmap.close();
        this.layers.set(id, canvas);
        const { width, height } = this.size;
        const location = new OpenSeadragon.Rect(0, 0, 1, height / width);
        this.viewer.addOverlay({ element: canvas, location });
        this.applyLayers();
    }

    connectLayerChoice() {
        this.layerTools = this.figure.querySelector("[data-layers]");
        this.layerTools?.addEventListener("input", () => this.applyLayers());
    }

    applyLayers() {
        const chosen = this.layerTools.querySelector("[data-layer-choice]:checked").value;
        const slider = this.layerTools.querySelector("[data-opacity]");
        slider.setAttribute("aria-valuetext", `${slider.value} percent`);
        slider.disabled = chosen === "";
        for (const [id, canvas] of this.layers) {
            canvas.style.opacity = id === chosen ? String(Number(slider.value) / 100) : "0";
        }
        this.layerTools.disabled = this.layers.size === 0;
    }

    nextLayer() {
        const choices = [...(this.layerTools?.querySelectorAll("[data-layer-choice]") ?? [])];
        const at = choices.findIndex((one) => one.checked);
        if (this.layers.size > 0) {
            choices[(at + 1) % choices.length].checked = true;
            this.applyLayers();
        }
    }

    // Marks

    forgetMarks() {
        this.marks = [];
        this.mmPerPixel = null;
        this.crosshair = false;
    }

    markMiddle() {
        if (this.crosshair) {
            const { width, height } = this.stageSize;
            this.markAt(new OpenSeadragon.Point(width / 2, height / 2));
        }
    }

    markAt(position) {
        const { x, y } = this.viewer.viewport.viewerElementToImageCoordinates(position);
        const { width, height } = this.size;
        this.tell("mark", {
            x: Math.min(width, Math.max(0, x)),
            y: Math.min(height, Math.max(0, y)),
        });
    }

    /** Marks, crosshair and bar, and the zoom in words. */
    drawOver() {
        const { viewport } = this.viewer;
        const { zoom } = this.view;
        const toScreen = ({ x, y }) =>
            viewport.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y));
        drawMarks(this.marksLayer, {
            marks: this.marks,
            crosshair: this.crosshair,
            toScreen,
            pixelsPerMm: this.mmPerPixel && zoom / this.mmPerPixel,
            size: this.stageSize,
        });
        const times = viewport.getZoom(true) / viewport.getHomeZoom();
        this.figure.querySelector("[data-zoom-shown]").value = `${times.toFixed(1)}×`;
    }

    /** Nothing of the photo stays in the page. */
    close() {
        this.viewer?.destroy();
        this.viewer = undefined;
        for (const canvas of this.layers.values()) {
            canvas.width = 0;
            canvas.height = 0;
        }
        this.layers.clear();
        this.bitmap?.close();
        this.bitmap = undefined;
        this.light = { ...USUAL_LIGHT };
        this.forgetMarks();
        this.figure.querySelector("[data-zoom-shown]").value = "";
        if (this.layerTools) {
            this.layerTools.disabled = true;
        }
        delete this.figure.dataset.shown;
    }

    tell(name, detail) {
        this.dispatchEvent(new CustomEvent(name, { detail }));
    }
}

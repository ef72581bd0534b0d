// What is drawn over a photo: points, lines with their length, the crosshair, a bar of known length.

const SVG = "http://www.w3.org/2000/svg";
const POINT_RADIUS = 5;
const CROSS = 14;
const BAR_FROM_EDGE = 16;
const SHORTEST_BAR = 50;
const BAR_LENGTHS_MM = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200];

export function marksLayer() {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "dq-marks");
    svg.setAttribute("aria-hidden", "true");
    return svg;
}

/**
 * @param marks list of {points: one or two {x, y} of the photo, words}
 * @param toScreen from the photo's pixels to the frame's
 * @param pixelsPerMm of the frame; null while the photo has no scale
 */
export function drawMarks(svg, { marks, crosshair, toScreen, pixelsPerMm, size }) {
    const shapes = marks.flatMap((mark) => markShapes(mark.points.map(toScreen), mark.words));
    if (crosshair) {
        shapes.push(...crossShapes(size.width / 2, size.height / 2));
    }
    if (pixelsPerMm) {
        shapes.push(...barShapes(pixelsPerMm, size.height));
    }
    svg.replaceChildren(...shapes);
}

function markShapes(points, words) {
    const shapes = points.length > 1 ? line(points[0], points[1]) : [];
    for (const { x, y } of points) {
        shapes.push(shape("circle", { cx: x, cy: y, r: POINT_RADIUS, class: "dq-marks__point" }));
    }
    const end = points[points.length - 1];
    return [...shapes, text(words, end.x + 2 * POINT_RADIUS, end.y - POINT_RADIUS)];
}

function crossShapes(x, y) {
    return [
        ...line({ x: x - CROSS, y }, { x: x + CROSS, y }),
        ...line({ x, y: y - CROSS }, { x, y: y + CROSS }),
    ];
}

function barShapes(pixelsPerMm, height) {
    const fits = BAR_LENGTHS_MM.find((length) => length * pixelsPerMm >= SHORTEST_BAR);
    const length = fits ?? BAR_LENGTHS_MM.at(-1);
    const y = height - BAR_FROM_EDGE;
    const end = { x: BAR_FROM_EDGE + length * pixelsPerMm, y };
    return [...line({ x: BAR_FROM_EDGE, y }, end), text(`${length} mm`, BAR_FROM_EDGE, y - 8)];
}

/** Twice, dark below light, so that it shows on every skin. */
function line(from, to) {
    const ends = { x1: from.x, y1: from.y, x2: to.x, y2: to.y };
    return ["dq-marks__edge", "dq-marks__line"].map((name) =>
        shape("line", { ...ends, class: name }),
    );
}

function text(words, x, y) {
    const element = shape("text", { x, y, class: "dq-marks__words" });
    element.textContent = words;
    return element;
}

function shape(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) {
        element.setAttribute(key, String(value));
    }
    return element;
}

// How one photo lies on another: turned, scaled and shifted (a similarity transform of the plane).
// Points are {x, y} in pixels of a photo, y downwards; angles are in degrees, clockwise.

/** Where the first photo's middle is the second's, and the second is seen whole when the first is. */
export function centred(first, second) {
    const scale = Math.max(second.width / first.width, second.height / first.height);
    return through({ scale, turn: 0 }, middle(first), middle(second));
}

/** The one that takes two points of the first photo to two of the second. */
export function byTwoPoints([a, b], [c, d]) {
    const from = { x: b.x - a.x, y: b.y - a.y };
    const to = { x: d.x - c.x, y: d.y - c.y };
    const scale = Math.hypot(to.x, to.y) / Math.hypot(from.x, from.y);
    return through({ scale, turn: angle(to) - angle(from) }, a, c);
}

export function applied({ scale, turn, x, y }, point) {
    const turned = rotated(point, turn);
    return { x: scale * turned.x + x, y: scale * turned.y + y };
}

export function inverse({ scale, turn, x, y }) {
    const back = rotated({ x: -x, y: -y }, -turn);
    return { scale: 1 / scale, turn: -turn, x: back.x / scale, y: back.y / scale };
}

/** What the second photo's frame shows when the first's shows `view` ({centre, zoom, turn}). */
export function matchingView(alignment, { centre, zoom, turn }) {
    return {
        centre: applied(alignment, centre),
        zoom: zoom / alignment.scale,
        turn: turn - alignment.turn,
    };
}

function through({ scale, turn }, from, to) {
    const moved = applied({ scale, turn, x: 0, y: 0 }, from);
    return { scale, turn, x: to.x - moved.x, y: to.y - moved.y };
}

function middle({ width, height }) {
    return { x: width / 2, y: height / 2 };
}

function angle({ x, y }) {
    return (Math.atan2(y, x) * 180) / Math.PI;
}

function rotated({ x, y }, degrees) {
    const cosine = Math.cos((degrees * Math.PI) / 180);
    const sine = Math.sin((degrees * Math.PI) / 180);
    return { x: cosine * x - sine * y, y: sine * x + cosine * y };
}

// A picture that is open in this page, as tiles for OpenSeadragon: cut out of the bitmap when they
// are drawn. So no address is made under which anything else could load it.

import { OpenSeadragon } from "./openseadragon.js";

const TILE_SIZE = 512;
let count = 0;

export class PictureSource extends OpenSeadragon.TileSource {
    constructor(bitmap) {
        super({ width: bitmap.width, height: bitmap.height, tileSize: TILE_SIZE });
        this.bitmap = bitmap;
        count += 1;
        this.name = `picture-${count}`;
    }

    /** Names a tile for the cache; nothing is fetched from there. */
    getTileUrl(level, x, y) {
        return `${this.name}/${level}/${x}_${y}`;
    }

    getTilePostData(level, x, y) {
        return { level, x, y };
    }

    downloadTileStart(job) {
        const { level, x, y } = job.postData;
        const scale = this.getLevelScale(level);
        const place = this.getTileBounds(level, x, y).times(this.bitmap.width);
        const canvas = document.createElement("canvas");
        canvas.width = Math.max(1, Math.round(place.width * scale));
        canvas.height = Math.max(1, Math.round(place.height * scale));
        const context = canvas.getContext("2d");
        context.imageSmoothingQuality = "high";
        const { width, height } = canvas;
        context.drawImage(
            this.bitmap, place.x, place.y, place.width, place.height, 0, 0, width, height,
        );
        job.finish(context, null, "context2d");
    }

    downloadTileAbort() {
        // A tile is there at once.
    }
}

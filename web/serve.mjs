// Shows a folder on localhost: node web/serve.mjs FOLDER [PORT]. The tests use it, too.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { pathToFileURL } from "node:url";

const TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
};

// Serves the first of `folders` that has what is asked for. Port 0 is any free one. Returns server and address.
export async function serve(folders, port = 0) {
    const server = createServer(async (request, response) => {
        const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
        for (const folder of folders) {
            const file = join(folder, path === "/" ? "index.html" : path);
            const content = await readFile(file).catch(() => null);
            if (content) {
                // The last two let a page share memory among threads.
                response.writeHead(200, {
                    "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
                    "Cross-Origin-Opener-Policy": "same-origin",
                    "Cross-Origin-Embedder-Policy": "require-corp",
                });
                return response.end(content);
            }
        }
        response.writeHead(404).end();
    });
    await new Promise((resolve, reject) => server.once("error", reject).listen(port, "localhost", resolve));
    return { server, address: `http://localhost:${server.address().port}/` };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
    const [folder, port = "8080"] = process.argv.slice(2);
    const shown = await serve([folder], Number(port)).catch(({ message }) => {
        console.error(`web/serve.mjs: ${message}`);
        process.exit(1);
    });
    console.log(`${shown.address} shows ${folder}; Ctrl-C ends it`);
}

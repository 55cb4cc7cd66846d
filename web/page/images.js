// Where the images to train on come from: MNIST's four files, dropped, chosen or fetched.

// In the order in which the program takes them.
const FILES = [
    { what: "training images", name: "train-images-idx3-ubyte", is: (name) => /train/i.test(name) && /image/i.test(name) },
    { what: "training labels", name: "train-labels-idx1-ubyte", is: (name) => /train/i.test(name) && /label/i.test(name) },
    { what: "test images", name: "t10k-images-idx3-ubyte", is: (name) => /t10k|test/i.test(name) && /image/i.test(name) },
    { what: "test labels", name: "t10k-labels-idx1-ubyte", is: (name) => /t10k|test/i.test(name) && /label/i.test(name) },
];

// Whether files that were dropped are meant as a data set.
export const areImages = (files) => files.some(({ name }) => FILES.some(({ is }) => is(name)));

export async function fromFiles(files) {
    const chosen = FILES.map(({ what, name, is }) => {
        const file = files.find((file) => is(file.name));
        if (!file) throw new Error(`${what}: expected a file such as ${name}.gz among the ${files.length} given; choose MNIST's four files together`);
        return file;
    });
    const contents = await Promise.all(chosen.map(async (file) => new Uint8Array(await file.arrayBuffer())));
    return { files: contents, name: chosen.map(({ name, size, lastModified }) => `${name} ${size} ${lastModified}`).join() };
}

// `url` is a folder's with MNIST's four files, as .gz or unpacked.
export async function fromUrl(url) {
    const folder = new URL(url.endsWith("/") ? url : `${url}/`, location.href);
    const contents = await Promise.all(FILES.map(({ name }) => fetched(folder, name)));
    return { files: contents, name: folder.href };
}

async function fetched(folder, name) {
    let answer;
    for (const file of [`${name}.gz`, name]) {
        answer = await fetch(new URL(file, folder)).catch(() => {
            throw new Error(`${folder}: cannot be reached, or does not allow this page (CORS); download the files and drop them here`);
        });
        if (answer.ok) return new Uint8Array(await answer.arrayBuffer());
    }
    throw new Error(`${new URL(`${name}.gz`, folder)}: expected one of MNIST's files, found ${answer.status} ${answer.statusText}`);
}

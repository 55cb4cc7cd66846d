// The worker as this thread sees it: functions that answer later, and events in between.

export class Thread extends EventTarget {
    #worker = null;
    #module;
    #waiting = new Map();
    #number = 0;

    // `module` is the compiled program, or a promise of it.
    constructor(module) {
        super();
        this.#module = module;
    }

    async call(call, ...args) {
        if (!this.#worker) await this.#begin();
        return this.#send(call, args);
    }

    // Ends the worker with all that it does; the next call begins another.
    end(reason) {
        this.#worker?.terminate();
        this.#worker = null;
        for (const { reject } of this.#waiting.values()) reject(new Error(reason));
        this.#waiting.clear();
    }

    async #begin() {
        const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
        this.#worker = worker;
        worker.onmessage = ({ data: { number, value, error, event } }) => {
            if (event) return this.dispatchEvent(Object.assign(new Event(event.type), { detail: event }));
            const { resolve, reject } = this.#waiting.get(number) ?? {};
            this.#waiting.delete(number);
            error === undefined ? resolve?.(value) : reject?.(new Error(error));
        };
        worker.onerror = (event) => this.end(event.message || "the program's thread ended");
        await this.#send("init", [await this.#module]);
    }

    #send(call, args) {
        const number = ++this.#number;
        return new Promise((resolve, reject) => {
            this.#waiting.set(number, { resolve, reject });
            this.#worker.postMessage({ number, call, args });
        });
    }
}

// The settings of training: a form, and the address bar, which holds what differs from the form as it comes.

export class Settings extends EventTarget {
    #form;
    #defaults;

    constructor(form) {
        super();
        this.#form = form;
        this.#defaults = this.values;
        const asked = new URLSearchParams(location.search);
        for (const [name, value] of asked) this.set(name, value);
        form.addEventListener("input", ({ target }) => {
            this.#remember();
            this.dispatchEvent(Object.assign(new Event("change"), { name: target.name }));
        });
        form.addEventListener("submit", (event) => event.preventDefault());
    }

    get values() {
        return Object.fromEntries(new FormData(this.#form));
    }

    get areValid() {
        return this.#form.reportValidity();
    }

    // What the field does not take leaves it as it was.
    set(name, value) {
        const field = this.#form.elements.namedItem(name);
        if (!field || name === "from") return;
        const before = field.value;
        field.value = value;
        if (!field.value || !field.checkValidity()) field.value = before;
    }

    // What cannot be changed while a run is on.
    lock(locked) {
        for (const field of this.#form.elements) field.disabled = locked && field.name !== "rate";
    }

    // In the address bar. `data` stands there as an address, and is not the form's.
    #remember() {
        const address = new URL(location.href);
        for (const [name, value] of Object.entries(this.values)) {
            if (name === "data" || name === "from") continue;
            value === this.#defaults[name] ? address.searchParams.delete(name) : address.searchParams.set(name, value);
        }
        history.replaceState(null, "", address);
    }
}

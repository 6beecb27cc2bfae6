// What the server tells while edits wait and are made: one stream for all of them.

export class Jobs {
  #listeners = [];
  #jobs = new Map();

  /** Begin to listen; after a break everything is told anew. */
  listen() {
    const source = new EventSource("/api/events");
    source.addEventListener("open", () => this.#tell("connected"));
    source.addEventListener("error", () => this.#tell("lost"));
    source.addEventListener("jobs", (event) => {
      for (const told of JSON.parse(event.data)) this.take(told);
      this.#tell("jobs");
    });
  }

  /** Take note of what the server told of a job. */
  take(told) {
    const known = this.#jobs.get(told.number);
    const keeps = known !== undefined && told.from_step > 0;
    const path = keeps ? [...known.path.slice(0, told.from_step), ...told.path] : told.path;
    const distances = keeps ? [...known.distances.slice(0, told.from_step), ...told.distances] : told.distances;
    this.#jobs.set(told.number, { ...told, path, distances });
  }

  /** All jobs, the newest first. */
  get all() {
    return [...this.#jobs.values()].sort((a, b) => b.number - a.number);
  }

  get running() {
    return this.all.find((job) => job.state === "running") ?? null;
  }

  /** @param {function(string)} listener told of `jobs`, `connected` and `lost`. */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  #tell(what) {
    for (const listener of this.#listeners) listener(what);
  }
}

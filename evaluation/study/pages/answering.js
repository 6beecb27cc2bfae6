// Where questions come from and answers go: a server, or this page alone when it is a file.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Every method gives the next state. What the server cannot take at the moment is sent again until it can.
export class ServerStudy {
  constructor(onOffline) {
    this.onOffline = onOffline;
  }

  async #call(path, content) {
    const options = content === undefined ? {} : {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(content),
    };
    for (let pause = FIRST_WAIT; ; pause = Math.min(LONGEST_WAIT, 2 * pause)) {
      try {
        const response = await fetch(`api/${path}`, options);
        if (response.ok) {
          this.onOffline(false);
          return await response.json();
        }
        // What is refused would be refused again: show what is open there.
        if (response.status < 500 && content !== undefined) return await this.#call("state");
        if (response.status < 500) throw new Error(`The server answered ${response.status}.`);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
      }
      this.onOffline(true);
      await wait(pause);
    }
  }

  picture(token) { return `picture/${token}.webp`; }

  state() { return this.#call("state"); }

  begin(language) { return this.#call("begin", { language }); }

  answer(place, chosen, seconds) { return this.#call("answer", { place, chosen, seconds }); }

  withdraw() { return this.#call("withdraw", {}); }
}

// The same from what the file holds; answers stay in the browser until they are saved.
export class FileStudy {
  constructor(content) {
    this.content = content;
    this.name = `study-${content.study}`;
    try {
      this.kept = JSON.parse(localStorage.getItem(this.name)) ?? {};
    } catch {
      this.kept = {};
    }
  }

  #keep() {
    try {
      localStorage.setItem(this.name, JSON.stringify(this.kept));
    } catch {
      // Without storage the answers last as long as the page is open.
    }
  }

  #state() {
    if (this.kept.withdrawn) return { state: "withdrawn" };
    if (!this.kept.participant) return { state: "welcome" };
    const paper = this.content.questionnaires[this.kept.questionnaire];
    const place = this.kept.answers.length;
    if (place === paper.length) return { state: "done", file: this.answers() };
    const following = paper.slice(place + 1, place + 2).flatMap((question) => [question.figure, ...question.options]);
    return { state: "question", kind: this.content.kind, place, count: paper.length, ...paper[place], next: following };
  }

  picture(token) { return this.content.pictures[token]; }

  async state() { return this.#state(); }

  async begin(language) {
    const numbers = crypto.getRandomValues(new Uint32Array(5));
    const names = Object.keys(this.content.questionnaires);
    this.kept = {
      participant: [...numbers.slice(0, 4)].map((number) => number.toString(16).padStart(8, "0")).join(""),
      questionnaire: names[numbers[4] % names.length],
      began: Date.now() / 1000,
      language,
      answers: [],
    };
    this.#keep();
    return this.#state();
  }

  async answer(place, chosen, seconds) {
    if (place === this.kept.answers.length) {
      this.kept.answers.push({ place, chosen, seconds, answered: Date.now() / 1000 });
      this.#keep();
    }
    return this.#state();
  }

  async withdraw() {
    this.kept = { withdrawn: true };
    this.#keep();
    return this.#state();
  }

  // What is saved as JSON.
  answers() {
    return { format: "rotationbench-study-answers", version: 1, study: this.content.study, ...this.kept };
  }
}

// Talking to the studio's server.

export class Refusal extends Error {
  /** @param {number} status @param {string} message what the server says. */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function asked(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refusal(0, "The studio does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  let message = `The studio refused (${answer.status}).`;
  try {
    message = (await answer.json()).detail ?? message;
  } catch {
    // What is not JSON has nothing to add.
  }
  throw new Refusal(answer.status, message);
}

const json = async (path, options) => (await asked(path, options)).json();
const post = (path, content) =>
  json(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content) });
const upload = (path, content) =>
  json(path, { method: "POST", headers: { "content-type": "application/octet-stream" }, body: content });
const part = encodeURIComponent;

export const about = () => json("/api/about");
export const listing = (dataset) => json(`/api/datasets/${part(dataset)}`);
export const sample = (dataset, name) => json(`/api/datasets/${part(dataset)}/${part(name)}`);
export const thumbnail = (dataset, name) => `/api/datasets/${part(dataset)}/${part(name)}/thumbnail`;
export const pictureAddress = (name) => `/api/pictures/${part(name)}`;
export const uploadPicture = (content) => upload("/api/pictures", content);
export const uploadMask = (content, height, width) => upload(`/api/masks?height=${height}&width=${width}`, content);
export const uploadConfig = (content) => upload("/api/configs", content);
export const save = (annotation, overwrite) => post("/api/samples", { annotation, overwrite });
export const submit = (request) => post("/api/jobs", request);
export const cancel = (number) => post(`/api/jobs/${number}/cancel`, {});
export const results = () => json("/api/results");
export const editedAddress = ({ label, sample: name, finished }) =>
  `/api/results/${part(label)}/${part(name)}/edited?of=${part(finished)}`;
export const sourceAddress = ({ label, sample: name }) => `/api/results/${part(label)}/${part(name)}/source`;
export const archiveAddress = (names) =>
  `/api/results.zip${names.length > 0 ? "?" : ""}${names.map((name) => `sample=${part(name)}`).join("&")}`;

/** A picture of the server, decoded. */
export async function bitmap(address) {
  return createImageBitmap(await (await asked(address)).blob());
}

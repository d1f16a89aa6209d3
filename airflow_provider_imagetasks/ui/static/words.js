// How things are called and numbers are written.
export const STATES = {
  waiting: "Waiting",
  stored: "Stored",
  ready: "Not stored",
  failed: "Failed",
  unfinished: "No result",
};

export const BATCH_STATES = { waiting: "Under way", stored: "Done", failed: "Failed" };

const ERRORS = {
  AuthenticationError: "The service does not accept the key",
  QuotaExceededError: "The account has no balance left",
  InvalidRequestError: "The request was wrong",
  ContentPolicyError: "Refused by the content policy",
  RateLimitError: "Too many requests",
  ServiceUnavailableError: "The service was not available",
  ProtocolError: "The service's answer made no sense",
  UnknownOutcomeError: "Nobody knows whether it was taken",
  ImageTaskFailedError: "The service failed to make it",
  ImageTaskNotFoundError: "The service does not know it",
  ImageTaskTimeoutError: "Not finished in time",
  DownloadError: "The picture could not be fetched",
  UnsafeResultError: "The result was not safe to store",
};

// What our own code says more exactly than the class of the error.
const CODES = { max_cost: "Not submitted: max_cost is reached" };

const BILLED = { yes: "It was billed.", no: "It was not billed.", unknown: "It may have been billed." };

export const errorTitle = (error) => CODES[error?.code] ?? ERRORS[error?.class] ?? error?.class ?? "It failed";
export const billedWords = (error) => BILLED[error?.billed] ?? "";

export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

export function bytes(size) {
  if (size < 1e6) return `${Math.max(1, Math.round(size / 1e3))} kB`;
  return `${(size / 1e6).toFixed(1)} MB`;
}

export const moment = (iso) =>
  new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

export function usageWords(usage) {
  return Object.entries(usage ?? {})
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`)
    .join(", ");
}

export const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

export const OUT_OF_REACH = {
  outside: "Stored outside the folders that the gallery may show.",
  no_roots: "Stored. The gallery shows it once [imagetasks] gallery_roots names its folder.",
  missing: "The file is no longer there, or cannot be read.",
};

// The smallest possible gateway under workerd: removes the prefix, adds the credential, and streams both ways.
export default {
  fetch(request, env) {
    const url = new URL(request.url);
    const headers = new Headers(request.headers);
    headers.set("authorization", `Bearer ${env.TOKEN}`);
    const init = { method: request.method, headers, body: request.body, redirect: "manual" };
    return fetch(env.UPSTREAM + url.pathname.slice("/proxy/github".length) + url.search, init);
  },
};

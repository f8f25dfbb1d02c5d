// The least that a gateway under workerd can be: takes the prefix off, puts the credential in, streams both ways.
export default {
  fetch(request, env) {
    const url = new URL(request.url);
    const headers = new Headers(request.headers);
    headers.set("authorization", `Bearer ${env.TOKEN}`);
    const init = { method: request.method, headers, body: request.body, redirect: "manual" };
    return fetch(env.UPSTREAM + url.pathname.slice("/proxy/github".length) + url.search, init);
  },
};

// Shows /openapi.json. Tokens that are typed in stay in the page: nothing is persisted.
globalThis.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: -1,
  tryItOutEnabled: false,
  validatorUrl: null,
});

// The same tool by the official TypeScript SDK. Arguments: `stdio`, or `http PORT json|sse stateful|stateless`.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// The packages stand in another folder than this file: NODE_PACKAGES names it.
const packages = createRequire(join(process.env.NODE_PACKAGES, "package.json"));
const load = (name) => import(pathToFileURL(packages.resolve(name)).href);
const { McpServer } = await load("@modelcontextprotocol/sdk/server/mcp.js");
const { StdioServerTransport } = await load("@modelcontextprotocol/sdk/server/stdio.js");
const { StreamableHTTPServerTransport } = await load("@modelcontextprotocol/sdk/server/streamableHttp.js");
const { z } = await load("zod");

function tools() {
  const server = new McpServer({ name: "ladder-typescript-sdk", version: "1.0.0" });
  server.registerTool("add", { inputSchema: { a: z.number().int(), b: z.number().int() } }, async ({ a, b }) => ({
    content: [{ type: "text", text: String(a + b) }],
  }));
  return server;
}

const [how, port, answers, sessions] = process.argv.slice(2);
if (how === "stdio") {
  await tools().connect(new StdioServerTransport());
} else {
  const enableJsonResponse = answers === "json";
  const open = new Map();
  const session = async () => {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: sessions === "stateful" ? randomUUID : undefined,
      enableJsonResponse,
      onsessioninitialized: (id) => open.set(id, transport),
    });
    await tools().connect(transport);
    return transport;
  };
  createServer(async (request, response) => {
    if (sessions === "stateless" && request.method !== "POST") return response.writeHead(405).end();
    const transport = open.get(request.headers["mcp-session-id"]) ?? (await session());
    if (sessions === "stateless") response.on("close", () => transport.close());
    await transport.handleRequest(request, response);
  }).listen(Number(port), "127.0.0.1");
}

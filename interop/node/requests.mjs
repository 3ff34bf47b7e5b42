// Prints the requests that the client of SSO OIDC makes of inputs.
//
//     echo '[{"operation": "RegisterClient", "input": {…}}, …]' | node requests.mjs

import * as oidc from "@aws-sdk/client-sso-oidc";
import { text } from "node:stream/consumers";

const requests = [];
const client = new oidc.SSOOIDCClient({
	region: "us-east-1",
	credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" },
	maxAttempts: 1,
	requestHandler: {
		async handle(request) {
			const { method, hostname, path, query, headers, body } = request;
			const header = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
			const sent = typeof body === "string" ? body : new TextDecoder().decode(body);
			requests.push({ method, host: hostname, path, query: new URLSearchParams(query).toString(), header, body: sent });
			throw new Error("not sent");
		},
	},
});

for (const { operation, input } of JSON.parse(await text(process.stdin))) {
	await client.send(new oidc[operation + "Command"](input)).catch((error) => {
		if (error.message !== "not sent") throw error;
	});
}
console.log(JSON.stringify(requests));

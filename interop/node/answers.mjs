// Prints what the client of SSO OIDC tells of answers: of an exception its
// members, of a success the output.
//
//     echo '[{"operation": "CreateToken", "input": {…}, "status": 400, "headers": {…}, "body": "…"}, …]' | node answers.mjs

import * as oidc from "@aws-sdk/client-sso-oidc";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";

let answer;
const client = new oidc.SSOOIDCClient({
	region: "us-east-1",
	credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" },
	maxAttempts: 1,
	requestHandler: {
		async handle() {
			const { status, headers, body } = answer;
			return { response: { statusCode: status, headers, body: Readable.from([Buffer.from(body)]) } };
		},
	},
});

const told = [];
for (answer of JSON.parse(await text(process.stdin))) {
	try {
		const { $metadata, ...output } = await client.send(new oidc[answer.operation + "Command"](answer.input));
		told.push({ output });
	} catch (e) {
		if (!e.$metadata) throw e;
		told.push({
			type: e.name,
			typed: e instanceof (oidc[e.name] ?? Array),
			code: e.error,
			description: e.error_description,
			reason: e.reason,
			region: e.region,
			endpoint: e.endpoint,
			status: e.$metadata.httpStatusCode,
			requestId: e.$metadata.requestId,
			extendedRequestId: e.$metadata.extendedRequestId,
			cfId: e.$metadata.cfId,
		});
	}
}
console.log(JSON.stringify(told));

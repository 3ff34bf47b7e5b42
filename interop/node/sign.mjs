// Prints the Authorization headers that requests should have.
//
//     echo '[{"request": {…}, "service": "…", "region": "…", "credentials": {…}}, …]' | node sign.mjs

import { SignatureV4 } from "@smithy/signature-v4";
import { createHash, createHmac } from "node:crypto";
import { text } from "node:stream/consumers";

class Sha256 {
	constructor(secret) {
		this.hash = secret ? createHmac("sha256", secret) : createHash("sha256");
	}
	update(data) {
		this.hash.update(data);
	}
	async digest() {
		return this.hash.digest();
	}
}

const headers = [];
for (const { request, service, region, credentials } of JSON.parse(await text(process.stdin))) {
	const { method, host, path, query, header, body } = request;
	// What is signed over: not what the signature added, and what a Go program's transport adds.
	const { authorization, "x-amz-date": date, "x-amz-security-token": token, "user-agent": agent, ...rest } = header;
	const signer = new SignatureV4({ credentials, region, service, sha256: Sha256, applyChecksum: false });
	const signed = await signer.sign(
		{
			method,
			protocol: "https:",
			hostname: host,
			path,
			query: Object.fromEntries(new URLSearchParams(query)),
			headers: { ...rest, host, "content-length": String(Buffer.byteLength(body)) },
			body,
		},
		{ signingDate: new Date(date.replace(/^(....)(..)(..T..)(..)/, "$1-$2-$3:$4:")) },
	);
	if (signed.headers["x-amz-date"] !== date || signed.headers["x-amz-security-token"] !== token) {
		throw new Error("another date or session token: " + JSON.stringify(signed.headers));
	}
	headers.push(signed.headers.authorization);
}
console.log(JSON.stringify(headers));

// Exchanges an authorization code and an assertion, refreshes, exchanges the
// access token as another application, and prints what it got.
//
//     echo '{"granted": {"code": "…", "redirectUri": "…", "codeVerifier": "…"}, "assertion": "…", "application": "arn:…", "otherApplication": "arn:…", "credentials": {…}}' | node exchange.mjs ENDPOINT

import * as oidc from "@aws-sdk/client-sso-oidc";
import { text } from "node:stream/consumers";

const [endpoint] = process.argv.slice(2);
const { granted, assertion, application: clientId, otherApplication, credentials } = JSON.parse(await text(process.stdin));
const client = new oidc.SSOOIDCClient({ region: "us-east-1", endpoint, credentials, maxAttempts: 1 });
const got = [];

async function exchange(input) {
	const { accessToken, refreshToken, awsAdditionalDetails } = await client.send(new oidc.CreateTokenWithIAMCommand({ clientId, ...input }));
	got.push({ accessToken, refreshToken, identityContext: awsAdditionalDetails?.identityContext });
	return got.at(-1);
}

await exchange({ grantType: "authorization_code", ...granted });
const { accessToken, refreshToken } = await exchange({ grantType: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion });
await exchange({ grantType: "refresh_token", refreshToken });
await exchange({
	clientId: otherApplication,
	grantType: "urn:ietf:params:oauth:grant-type:token-exchange",
	subjectToken: accessToken,
	subjectTokenType: "urn:ietf:params:oauth:token-type:access_token",
});
console.log(JSON.stringify(got));

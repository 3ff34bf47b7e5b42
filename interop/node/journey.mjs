// Registers a client, signs a person in, refreshes, and prints both access
// tokens. Whoever is at the endpoint has to approve at once.
//
//     node journey.mjs ENDPOINT START-URL

import * as oidc from "@aws-sdk/client-sso-oidc";

const [endpoint, startUrl] = process.argv.slice(2);
const client = new oidc.SSOOIDCClient({ region: "us-east-1", endpoint, maxAttempts: 1 });
const { clientId, clientSecret } = await client.send(
	new oidc.RegisterClientCommand({ clientName: "journey", clientType: "public", scopes: ["sso:account:access"] }),
);
const { deviceCode } = await client.send(new oidc.StartDeviceAuthorizationCommand({ clientId, clientSecret, startUrl }));
const first = await client.send(
	new oidc.CreateTokenCommand({ clientId, clientSecret, deviceCode, grantType: "urn:ietf:params:oauth:grant-type:device_code" }),
);
const second = await client.send(
	new oidc.CreateTokenCommand({ clientId, clientSecret, refreshToken: first.refreshToken, grantType: "refresh_token" }),
);
console.log(JSON.stringify([first.accessToken, second.accessToken]));

// Serves an OpenID provider, npm's oidc-provider, on a loopback port of its
// choice, and prints its issuer. Whoever signs in, with any password, is a user.
// It ends when its standard input does.
//
// The ID tokens of the client "with-jti" have a jti, those of "without-jti"
// none; they are signed with one algorithm each. Access tokens are JWTs for the
// audience that is given.
//
//     node provider.mjs AUDIENCE

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [audience] = process.argv.slice(2);

const client = (client_id, id_token_signed_response_alg) => ({
	client_id,
	id_token_signed_response_alg,
	application_type: "native",
	token_endpoint_auth_method: "none",
	grant_types: ["authorization_code", "refresh_token"],
	redirect_uris: ["http://127.0.0.1/callback"],
});

const key = (alg, ...options) => ({ ...generateKeyPairSync(...options).privateKey.export({ format: "jwk" }), alg, kid: alg, use: "sig" });

const configuration = {
	clients: [client("without-jti", "RS256"), client("with-jti", "ES256")],
	jwks: { keys: [key("RS256", "rsa", { modulusLength: 2048 }), key("ES256", "ec", { namedCurve: "P-256" })] },
	cookies: { keys: [randomUUID()] },
	claims: { openid: ["sub", "jti"] },
	findAccount: (ctx, accountId) => ({
		accountId,
		claims: () => ({ sub: accountId, jti: ctx.oidc.client.clientId === "with-jti" ? randomUUID() : undefined }),
	}),
	features: {
		resourceIndicators: {
			enabled: true,
			defaultResource: () => audience,
			useGrantedResource: () => true,
			getResourceServerInfo: () => ({ audience, scope: "", accessTokenFormat: "jwt", jwt: { sign: { alg: "ES256" } } }),
		},
	},
};

const server = createServer();
server.listen(0, "127.0.0.1", () => {
	const issuer = `http://127.0.0.1:${server.address().port}`;
	server.on("request", new Provider(issuer, configuration).callback());
	console.log(issuer);
});
process.stdin.on("end", () => process.exit()).resume();

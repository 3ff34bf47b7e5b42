// Prints the ARN that credentials of a profile have.
//
//     node identity.mjs fromSSO|fromIni|fromNodeProviderChain PROFILE

import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import * as providers from "@aws-sdk/credential-providers";

const [provider, profile] = process.argv.slice(2);
const sts = new STSClient({ profile, credentials: providers[provider]({ profile }) });
const { Arn } = await sts.send(new GetCallerIdentityCommand({}));
console.log(JSON.stringify({ arn: Arn }));

package wire

import (
	"context"
	"math/rand/v2"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc/wire"
)

// A call is one operation with one input, for either client.
type call struct {
	operation string
	input     any // as the AWS SDKs have it
	ours      func(context.Context, *wire.Client) (any, error)
	official  func(context.Context, *ssooidc.Client) (any, error)
}

func registerClient(in wire.RegisterClientInput) call {
	sdk := &ssooidc.RegisterClientInput{
		ClientName: pointer(in.ClientName), ClientType: aws.String("public"), Scopes: in.Scopes, RedirectUris: in.RedirectURIs,
		GrantTypes: in.GrantTypes, IssuerUrl: pointer(in.IssuerURL), EntitledApplicationArn: pointer(in.EntitledApplicationARN),
	}
	return call{
		"RegisterClient", sdk,
		func(ctx context.Context, c *wire.Client) (any, error) { return c.RegisterClient(ctx, &in) },
		func(ctx context.Context, c *ssooidc.Client) (any, error) { return c.RegisterClient(ctx, sdk) },
	}
}

func startDeviceAuthorization(in wire.StartDeviceAuthorizationInput) call {
	sdk := &ssooidc.StartDeviceAuthorizationInput{ClientId: pointer(in.ClientID), ClientSecret: pointer(in.ClientSecret), StartUrl: pointer(in.StartURL)}
	return call{
		"StartDeviceAuthorization", sdk,
		func(ctx context.Context, c *wire.Client) (any, error) { return c.StartDeviceAuthorization(ctx, &in) },
		func(ctx context.Context, c *ssooidc.Client) (any, error) { return c.StartDeviceAuthorization(ctx, sdk) },
	}
}

func createToken(in wire.CreateTokenInput) call {
	sdk := &ssooidc.CreateTokenInput{
		ClientId: pointer(in.ClientID), ClientSecret: pointer(in.ClientSecret), GrantType: pointer(in.GrantType), DeviceCode: pointer(in.DeviceCode),
		Code: pointer(in.Code), RedirectUri: pointer(in.RedirectURI), CodeVerifier: pointer(in.CodeVerifier), RefreshToken: pointer(in.RefreshToken), Scope: in.Scopes,
	}
	return call{
		"CreateToken", sdk,
		func(ctx context.Context, c *wire.Client) (any, error) { return c.CreateToken(ctx, &in) },
		func(ctx context.Context, c *ssooidc.Client) (any, error) { return c.CreateToken(ctx, sdk) },
	}
}

func createTokenWithIAM(in wire.CreateTokenWithIAMInput) call {
	sdk := &ssooidc.CreateTokenWithIAMInput{
		ClientId: pointer(in.ClientID), GrantType: pointer(in.GrantType), Assertion: pointer(in.Assertion), SubjectToken: pointer(in.SubjectToken),
		SubjectTokenType: pointer(in.SubjectTokenType), RequestedTokenType: pointer(in.RequestedTokenType), RefreshToken: pointer(in.RefreshToken),
		Code: pointer(in.Code), RedirectUri: pointer(in.RedirectURI), CodeVerifier: pointer(in.CodeVerifier), Scope: in.Scopes,
	}
	return call{
		"CreateTokenWithIAM", sdk,
		func(ctx context.Context, c *wire.Client) (any, error) { return c.CreateTokenWithIAM(ctx, &in) },
		func(ctx context.Context, c *ssooidc.Client) (any, error) { return c.CreateTokenWithIAM(ctx, sdk) },
	}
}

// generator makes inputs, the same ones from the same seed.
type generator struct {
	*rand.Rand
	alphabet []string // of texts
}

// newGenerator makes texts of all that is hard on JSON. Those of even seeds
// have what is written as JSON in several ways, too.
func newGenerator(seed uint64) generator {
	alphabet := []string{
		"a", "Z", "0", " ", "<", ">", "&", `"`, `\`, "/", "'", "\n", "\r", "\t", "\x00", "\x1f", "é", "ß", "日本", "\u2028", "\u2029",
		"\u202e", "\ufeff", "\ufffd", "😀", "=", "+", "%2F", "https://example.com/?a=b&c=d#e",
	}
	if seed%2 == 0 {
		alphabet = append(alphabet, "\b", "\f", "\x7f", "\xff", "\xed\xa0\x80")
	}
	return generator{rand.New(rand.NewPCG(seed, 0)), alphabet}
}

// calls returns one call of each operation.
func (g generator) calls() []call {
	return []call{
		registerClient(wire.RegisterClientInput{
			ClientName: g.some(g.text), Scopes: g.list(g.text), RedirectURIs: g.list(g.text), GrantTypes: g.list(g.text),
			IssuerURL: g.maybe(g.text), EntitledApplicationARN: g.maybe(g.text),
		}),
		startDeviceAuthorization(wire.StartDeviceAuthorizationInput{
			ClientID: g.some(g.text), ClientSecret: wire.Secret(g.some(g.token)), StartURL: g.some(g.text),
		}),
		createToken(wire.CreateTokenInput{
			ClientID: g.some(g.text), ClientSecret: wire.Secret(g.some(g.token)), GrantType: g.some(g.text), DeviceCode: wire.Secret(g.maybe(g.token)),
			Code: wire.Secret(g.maybe(g.token)), RedirectURI: g.maybe(g.text), CodeVerifier: wire.Secret(g.maybe(g.token)),
			RefreshToken: wire.Secret(g.maybe(g.token)), Scopes: g.list(g.text),
		}),
		createTokenWithIAM(wire.CreateTokenWithIAMInput{
			ClientID: g.some(g.text), GrantType: g.some(g.text), Assertion: wire.Secret(g.maybe(g.token)), SubjectToken: wire.Secret(g.maybe(g.token)),
			SubjectTokenType: g.maybe(g.text), RequestedTokenType: g.maybe(g.text), RefreshToken: wire.Secret(g.maybe(g.token)), Code: wire.Secret(g.maybe(g.token)),
			RedirectURI: g.maybe(g.text), CodeVerifier: wire.Secret(g.maybe(g.token)), Scopes: g.list(g.text),
		}),
	}
}

// text is any text, such as a name.
func (g generator) text() string {
	var b strings.Builder
	for range g.length() {
		b.WriteString(g.alphabet[g.IntN(len(g.alphabet))])
	}
	return b.String()
}

// token is visible ASCII.
func (g generator) token() string {
	b := make([]byte, g.length())
	for i := range b {
		b[i] = byte('!' + g.IntN('~'-'!'+1))
	}
	return string(b)
}

// length is mostly short, and seldom thousands.
func (g generator) length() int { return g.IntN([...]int{2, 8, 64, 64, 64, 9000}[g.IntN(6)]) }

func (g generator) some(value func() string) string {
	for {
		if s := value(); s != "" {
			return s
		}
	}
}

func (g generator) maybe(value func() string) string {
	if g.IntN(3) == 0 {
		return ""
	}
	return value()
}

func (g generator) list(value func() string) (list []string) {
	for range g.IntN(4) {
		list = append(list, value())
	}
	return list
}

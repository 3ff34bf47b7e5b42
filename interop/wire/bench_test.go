package wire

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc/wire"
)

const tokenAnswer = `{"accessToken":"aoa-access-token","expiresIn":3600,"idToken":null,"refreshToken":"aor-refresh-token","tokenType":"Bearer"}`

// BenchmarkCreateToken compares a refresh over one in-memory transport.
func BenchmarkCreateToken(b *testing.B) {
	compare(b, createToken(wire.CreateTokenInput{
		ClientID: "client-id", ClientSecret: "client-secret", GrantType: wire.GrantRefreshToken, RefreshToken: "refresh-token",
	}))
}

// BenchmarkCreateTokenWithIAM compares an exchange, signed with credentials
// that are cached.
func BenchmarkCreateTokenWithIAM(b *testing.B) {
	compare(b, createTokenWithIAM(fixedSignedInputs()[0]))
}

func compare(b *testing.B, c call) {
	b.Run("wire", func(b *testing.B) {
		client := ours(&recorder{status: 200, body: tokenAnswer})
		repeat(b, func() error { _, err := c.ours(b.Context(), client); return err })
	})
	b.Run("ssooidc", func(b *testing.B) {
		// As the SDK is used, with its retries and their headers.
		client := ssooidc.New(ssooidc.Options{Region: region, Credentials: credentials(), HTTPClient: &http.Client{Transport: &recorder{status: 200, body: tokenAnswer}}})
		repeat(b, func() error { _, err := c.official(b.Context(), client); return err })
	})
}

func repeat(b *testing.B, f func() error) {
	b.ReportAllocs()
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProgramSize reports how many bytes a client adds to a program that
// has net/http and encoding/json already.
func BenchmarkProgramSize(b *testing.B) {
	const imports = "package main\nimport (\"context\"; \"encoding/json\"; \"net/http\"; \"os\"; "
	const plain = "func main() { r, _ := http.Post(os.Args[1], \"\", nil); json.NewDecoder(r.Body).Decode(&os.Args); "
	base := size(b, imports+")\n"+plain+"_ = context.Background() }")
	for _, bm := range []struct{ name, path, use string }{
		{"wire", "github.com/awsoidc/awsoidc/wire", `c := &wire.Client{Endpoint: os.Args[1]}
			c.RegisterClient(context.Background(), nil); c.StartDeviceAuthorization(context.Background(), nil)
			c.CreateToken(context.Background(), nil)`},
		{"wire-signed", `github.com/awsoidc/awsoidc"; "github.com/awsoidc/awsoidc/wire`, `c := &wire.Client{Endpoint: os.Args[1], Signer: awsoidc.NewSigner(nil, os.Args[1])}
			c.RegisterClient(context.Background(), nil); c.StartDeviceAuthorization(context.Background(), nil)
			c.CreateToken(context.Background(), nil); c.CreateTokenWithIAM(context.Background(), nil)`},
		{"ssooidc", "github.com/aws/aws-sdk-go-v2/service/ssooidc", `c := ssooidc.New(ssooidc.Options{Region: os.Args[1]})
			c.RegisterClient(context.Background(), nil); c.StartDeviceAuthorization(context.Background(), nil)
			c.CreateToken(context.Background(), nil)`},
		{"ssooidc-signed", "github.com/aws/aws-sdk-go-v2/service/ssooidc", `c := ssooidc.New(ssooidc.Options{Region: os.Args[1]})
			c.RegisterClient(context.Background(), nil); c.StartDeviceAuthorization(context.Background(), nil)
			c.CreateToken(context.Background(), nil); c.CreateTokenWithIAM(context.Background(), nil)`},
	} {
		b.Run(bm.name, func(b *testing.B) {
			added := size(b, imports+`"`+bm.path+"\")\n"+plain+bm.use+" }") - base
			for b.Loop() { // there is nothing to measure
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(added)/1e6, "MB-added")
		})
	}
}

// size builds a program and returns its size in bytes, without symbols.
func size(b *testing.B, source string) int64 {
	b.Helper()
	dir := b.TempDir()
	file, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "main")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), "go", "build", "-ldflags=-s -w", "-buildvcs=false", "-o", program, file)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(program)
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxied returns the environment of h for clients that know no variable for
// an endpoint: a proxy brings them to the service under AWS's own names.
func (h *host) proxied() []string {
	h.t.Helper()
	a := newAuthority(h.t)
	secure := httptest.NewUnstartedServer(h.srv)
	secure.TLS = &tls.Config{GetCertificate: a.certificate}
	secure.StartTLS()
	h.t.Cleanup(secure.Close)
	tunnels := &tunnels{to: secure.Listener.Addr().String()}
	proxy := httptest.NewServer(tunnels)
	h.t.Cleanup(func() { proxy.Close(); tunnels.wait.Wait() })
	bundle := h.path("ca.pem")
	h.write(bundle, a.pem)
	return append(h.env, "HTTPS_PROXY="+proxy.URL, "AWS_CA_BUNDLE="+bundle)
}

// tunnels is an HTTP proxy that answers CONNECT for any host of AWS, and ends
// every tunnel at one server.
type tunnels struct {
	to   string
	wait sync.WaitGroup
}

func (p *tunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if host, _, _ := net.SplitHostPort(r.Host); r.Method != http.MethodConnect || !strings.HasSuffix(host, ".amazonaws.com") {
		http.Error(w, "only CONNECT to amazonaws.com", http.StatusForbidden)
		return
	}
	p.wait.Add(1)
	defer p.wait.Done()
	there, err := net.Dial("tcp", p.to)
	if err != nil {
		http.Error(w, "the service is gone", http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
	p.wait.Go(func() {
		io.Copy(there, here)
		there.Close()
	})
	io.Copy(here, there)
}

// authority is a certificate authority that certifies every name.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := template("interop test CA")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// certificate implements tls.Config.GetCertificate.
func (a *authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	template := template(hello.ServerName)
	template.DNSNames = []string{hello.ServerName}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}, nil
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(rand.Text())),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

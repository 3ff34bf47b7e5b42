package idctest_test

import (
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/idctest"
)

// TestAddAccessKey checks what is filled in, and that a key can be replaced.
func TestAddAccessKey(t *testing.T) {
	srv := idctest.New()
	a, b := srv.AddAccessKey(idctest.AccessKey{}), srv.AddAccessKey(idctest.AccessKey{SessionToken: "t"})
	if !strings.HasPrefix(a.ID, "AKIA") || !strings.HasPrefix(b.ID, "ASIA") || len(a.ID) != 20 || len(a.Secret) != 40 || a.Secret == b.Secret ||
		a.ARN != "arn:aws:iam::123456789012:user/idctest" {
		t.Errorf("keys %+v, %+v", a, b)
	}
	given := idctest.AccessKey{ID: "AKIAIOSFODNN7EXAMPLE", Secret: "a secret access key", ARN: "arn:aws:iam::210987654321:user/ci"}
	if got := srv.AddAccessKey(given); got != given {
		t.Errorf("got %+v, want %+v", got, given)
	}
	who, err := stsClient(srv.Transport(), given.ID, given.Secret, "").GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *who.Arn != given.ARN || *who.Account != "210987654321" || !strings.HasPrefix(*who.UserId, "AIDA") {
		t.Errorf("identity %+v", who)
	}
	given.Secret = "another secret access key"
	srv.AddAccessKey(given)
	if _, err := stsClient(srv.Transport(), given.ID, given.Secret, "").GetCallerIdentity(t.Context(), nil); err != nil {
		t.Error(err)
	}
	_, err = stsClient(srv.Transport(), given.ID, "a secret access key", "").GetCallerIdentity(t.Context(), nil)
	wantException(t, err, "SignatureDoesNotMatch")
}

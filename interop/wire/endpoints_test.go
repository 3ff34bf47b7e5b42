package wire

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc/wire"
)

// TestEndpoints compares with the official client's resolver: every region of
// every partition that the AWS SDK knows, regions that may come, and strings
// that are almost regions, each with and without FIPS and dual stack.
func TestEndpoints(t *testing.T) {
	regions := knownRegions(t)
	if len(regions) < 40 {
		t.Fatalf("only %d regions: %s", len(regions), regions)
	}
	for _, partition := range []string{
		"us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx", "cn", "us-gov", "us-iso", "us-isob", "eu-isoe", "us-isof", "eusc-de",
		"", "xx", "us-govx", "eusc", "eusc-fr", "eu-iso", "us-isoe", "eu-isob", "cnx", "x-cn", "usgov",
	} {
		for _, rest := range []string{"", "-east-1", "-west-12", "-northeast-3", "-x-0", "-1-1", "-east", "-east-", "-east-1a", "--1", "-east--1", "-east-1-x", "-a-b-1", "-east-١"} {
			regions = append(regions, partition+rest)
		}
	}
	resolver := ssooidc.NewDefaultEndpointResolverV2()
	compared := 0
	for _, region := range regions {
		if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`).MatchString(region) {
			if got, err := wire.EndpointFor(region, false, false); err == nil {
				t.Errorf("%q is no host label, and its endpoint is %s", region, got)
			}
			continue
		}
		for _, flags := range [][2]bool{{false, false}, {true, false}, {false, true}, {true, true}} {
			fips, dualStack := flags[0], flags[1]
			want, err := resolver.ResolveEndpoint(t.Context(), ssooidc.EndpointParameters{Region: &region, UseFIPS: &fips, UseDualStack: &dualStack})
			if err != nil {
				t.Fatalf("%s: %v", region, err)
			}
			if got, err := wire.EndpointFor(region, fips, dualStack); err != nil || got != want.URI.String() {
				t.Errorf("%s, FIPS %v, dual stack %v: %s, %v, want %s", region, fips, dualStack, got, err, want.URI.String())
			}
			compared++
		}
	}
	t.Logf("%d endpoints of %d regions are equal", compared, compared/4)
}

// knownRegions returns what the AWS SDK's own list of partitions has.
func knownRegions(t *testing.T) (regions []string) {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "internal/endpoints/awsrulesfn/partitions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Partitions []struct {
			ID      string
			Regions map[string]any
		}
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Partitions) != 8 {
		t.Errorf("the AWS SDK knows %d partitions, this library 8", len(list.Partitions))
	}
	for _, p := range list.Partitions {
		for region := range p.Regions {
			regions = append(regions, region)
		}
	}
	slices.Sort(regions)
	return regions
}

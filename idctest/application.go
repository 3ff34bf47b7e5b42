package idctest

import (
	"slices"
	"strings"

	"github.com/awsoidc/awsoidc/wire"
)

// Application is a customer managed application of Identity Center with OAuth
// grants configured, which programs with IAM credentials ask for tokens of by
// CreateTokenWithIAM.
type Application struct {
	ARN          string   // such as "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef"
	GrantTypes   []string // that are configured; nil: all four of CreateTokenWithIAM
	RedirectURIs []string // of the authorization code grant; nil: any that is https, or http on loopback
	// Scopes are those that may be asked for, and are granted where none is.
	// nil: openid, aws and sts:identity_context. With sso:account:access among
	// those granted, the access token is also good for the portal.
	Scopes []string
	// Subjects are the users who are assigned to the application, by the claim
	// sub or their name. Others get AccessDeniedException, which names no cause,
	// after their assertion was found good and so counts as presented. nil:
	// everybody is assigned.
	Subjects []string
	// Region is where the application's instance of Identity Center is. A
	// request signed for another gets InvalidRequestRegionException, which names
	// Region and Endpoint. "": Server.Region.
	Region string
	// Endpoint is the one that InvalidRequestRegionException names, in place of
	// AWS's own for Region: that of a real server on loopback, or one that no
	// client should go to.
	Endpoint string
}

// application returns the application with that ARN.
func (s *Server) application(arn string) (Application, *answer) {
	if !isApplicationARN(arn) {
		return Application{}, oidcError(wire.TypeInvalidRequest, "clientId is not the ARN of an application")
	}
	if s.Applications == nil {
		return Application{ARN: arn}, nil
	}
	i := slices.IndexFunc(s.Applications, func(a Application) bool { return a.ARN == arn })
	if i < 0 {
		return Application{}, oidcError(wire.TypeInvalidClient, "Invalid client provided")
	}
	return s.Applications[i], nil
}

func isApplicationARN(s string) bool {
	a := parseARN(s)
	p := strings.Split(a.resource, "/")
	return a.service == "sso" && a.region == "" && isAccount(a.account) && len(s) <= 256 &&
		len(p) == 3 && p[0] == "application" && isWord(instanceID(s), "-.") && strings.HasPrefix(p[2], "apl-") && isWord(p[2][4:], "")
}

// instanceID returns the instance of Identity Center that an application
// belongs to, "" where its ARN names none.
func instanceID(application string) string {
	_, rest, _ := strings.Cut(application, ":application/")
	id, _, _ := strings.Cut(rest, "/")
	if !strings.HasPrefix(id, "ssoins-") && !strings.HasPrefix(id, "ins-") {
		return ""
	}
	return id
}

func (a Application) mayUse(grantType string) bool {
	return a.GrantTypes == nil || slices.Contains(a.GrantTypes, grantType)
}

// assigned reports whether a user may use the application.
func (a Application) assigned(subject string) bool {
	return a.Subjects == nil || slices.Contains(a.Subjects, subject)
}

func (a Application) scopes() []string {
	if a.Scopes == nil {
		return []string{scopeOpenID, "aws", scopeIdentityContext}
	}
	return a.Scopes
}

// checkRegion answers a request that was signed for another region than the
// application's.
func (s *Server) checkRegion(app Application, signedFor string) *answer {
	region, endpoint := app.Region, app.Endpoint
	if region == "" {
		region = s.Region
	}
	if region == "" || region == signedFor {
		return nil
	}
	if endpoint == "" {
		endpoint, _ = wire.EndpointFor(region, false, false)
	}
	return oidcException(exception{
		Type: wire.TypeInvalidRequestRegion, Description: "The instance of IAM Identity Center is in another region",
		Region: region, Endpoint: endpoint,
	})
}

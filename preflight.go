package awsoidc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Preflight says what is wrong with an exchange before anything is spent: with
// the assertion's issuer, subject, audience and expiry, or that it was used
// before; with the roles, which must not be the role that the program itself
// runs as, and of which chaining allows an hour. The assertion is not sent; of
// AWS, only STS GetCallerIdentity is asked, and only where there are roles. The
// zero Subject with the zero Assertion checks the roles alone, as at a program's
// start.
//
// The error is one line that names all that was found. It wraps what the calls
// themselves would have failed with.
func (e *Exchanger) Preflight(ctx context.Context, subject Subject, assertion Assertion, roles ...Role) error {
	var found []error
	if subject != (Subject{}) || assertion.fetch != nil {
		p, err := assertion.prove(ctx, &e.sources, subject, e.cfg.Audiences, e.rules.now().time())
		if err == nil && e.wasUsed(ctx, subject, p) {
			err = errUsedBefore
		}
		found = append(found, subject.check(), err)
	}
	if len(roles) > 0 {
		found = append(found, e.checkRoles(ctx, roles)...)
	}
	return joinLine(found)
}

func (e *Exchanger) checkRoles(ctx context.Context, roles []Role) []error {
	var found []error
	for _, r := range roles {
		found = append(found, r.check())
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	out, err := e.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return append(found, explainSTS(Role{}, newSDKError(err), time.Time{}, "check the credentials that this program itself runs with"))
	}
	account, own := assumedRole(aws.ToString(out.Arn))
	for _, r := range roles {
		if own == "" {
			break
		}
		if r.Duration > time.Hour {
			found = append(found, badConfig("Role.Duration", r.Duration.String(), "give 1 hour at most: this program runs as a role itself", nil))
		}
		if a, err := arn.Parse(r.ARN); err == nil && a.AccountID == account && a.Resource[strings.LastIndex(a.Resource, "/")+1:] == own {
			found = append(found, badConfig("Role.ARN", r.ARN, "give another role than the one that this program runs as", nil))
		}
	}
	return found
}

// wasUsed reports whether an assertion was used, here or by those who share the
// store.
func (e *Exchanger) wasUsed(ctx context.Context, subject Subject, p *proof) bool {
	if e.cfg.Store == nil || e.spent.has(p.print) {
		return e.spent.has(p.print)
	}
	key := e.key(subject)
	raw, err := readWithin(ctx, e.cfg.Store, key)
	record := decodeIdentity(raw, key)
	return err == nil && slices.ContainsFunc(record.spent, func(m spentMark) bool { return m.Print == p.print })
}

// assumedRole returns account and role name of the ARN of a role's session, or
// "" where it is none.
func assumedRole(session string) (account, role string) {
	a, err := arn.Parse(session)
	if err != nil {
		return "", ""
	}
	parts := strings.Split(a.Resource, "/")
	if len(parts) != 3 || parts[0] != "assumed-role" {
		return "", ""
	}
	return a.AccountID, parts[1]
}

// joinLine is errors.Join in one line.
func joinLine(errs []error) error {
	joined := errors.Join(errs...)
	if joined == nil {
		return nil
	}
	return &lineError{joined}
}

type lineError struct{ err error }

func (e *lineError) Error() string {
	return strings.ReplaceAll(strings.ReplaceAll(e.err.Error(), "\nawsoidc: ", "; "), "\n", "; ")
}

func (e *lineError) Unwrap() error { return e.err }

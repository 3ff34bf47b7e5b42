package awsoidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sso"

	"github.com/awsoidc/awsoidc/wire"
)

// Account is an AWS account in which a person may use a role. The texts are as
// the service sent them: whoever shows them in a terminal removes what does not
// print.
type Account struct {
	ID    string // 12 digits
	Name  string // as the organization has it; may be empty
	Email string // of the account's owner; may be empty
}

const (
	// listPageSize is the most that the portal puts on a page.
	listPageSize = 100
	// maxListPages bounds a list: no organization has 100,000 accounts.
	maxListPages = 1000
)

// Accounts lists the accounts in which the session's person may use a role, in
// the portal's order (operation ListAccounts). It sends as the caller goes on,
// page by page, no faster than the portal allows; each range over it asks
// anew.
//
// An error comes last, with a zero Account. It wraps ErrLoginRequired without a
// session, unless Config.LoginOnDemand is set, and ErrThrottled where the
// portal is asked too often even so. If ctx ends first, the error is its cause.
func (s *TokenSource) Accounts(ctx context.Context) iter.Seq2[Account, error] {
	return list(ctx, s, "the accounts could not be listed", func(ctx context.Context, token string, page *string) ([]Account, *string, error) {
		out, err := s.portal.ListAccounts(ctx, &sso.ListAccountsInput{AccessToken: &token, MaxResults: aws.Int32(listPageSize), NextToken: page})
		if err != nil {
			return nil, nil, err
		}
		accounts := make([]Account, len(out.AccountList))
		for i, a := range out.AccountList {
			accounts[i] = Account{ID: aws.ToString(a.AccountId), Name: aws.ToString(a.AccountName), Email: aws.ToString(a.EmailAddress)}
		}
		return accounts, out.NextToken, nil
	})
}

// Roles lists the names of the roles that the session's person may use in an
// account of 12 digits (operation ListAccountRoles), for RoleCredentials. It
// is otherwise as Accounts is; an error wraps ErrNotAssigned where the person
// has no role in the account.
func (s *TokenSource) Roles(ctx context.Context, accountID string) iter.Seq2[string, error] {
	what := "the roles in account " + wire.Redact(accountID) + " could not be listed"
	return list(ctx, s, what, func(ctx context.Context, token string, page *string) ([]string, *string, error) {
		out, err := s.portal.ListAccountRoles(ctx, &sso.ListAccountRolesInput{
			AccessToken: &token, AccountId: &accountID, MaxResults: aws.Int32(listPageSize), NextToken: page,
		})
		if err != nil {
			return nil, nil, err
		}
		roles := make([]string, len(out.RoleList))
		for i, r := range out.RoleList {
			roles[i] = aws.ToString(r.RoleName)
		}
		return roles, out.NextToken, nil
	})
}

// list yields what is on the pages that fetch gets.
func list[T any](ctx context.Context, s *TokenSource, what string, fetch func(ctx context.Context, token string, page *string) ([]T, *string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if _, err := s.get(ctx); err != nil { // signs in where that is wanted
			yield(none, err)
			return
		}
		var page *string
		seen := map[[sha256.Size]byte]bool{}
		for range maxListPages {
			var items []T
			var next *string
			err := s.askPortal(ctx, func(ctx context.Context, token wire.Secret) (err error) {
				items, next, err = fetch(ctx, string(token), page)
				return err
			}, func(err error) error { return s.explainList(what, err) })
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if aws.ToString(next) == "" {
				return
			}
			sum := sha256.Sum256([]byte(*next))
			if seen[sum] || len(*next) > wire.MaxTokenBytes {
				yield(none, endless(what, errors.New("the portal named a page a second time, or by a name that is too long")))
				return
			}
			seen[sum] = true
			page = next
		}
		yield(none, endless(what, fmt.Errorf("the portal's list has more than %d pages", maxListPages)))
	}
}

func endless(what string, cause error) error {
	return &failure{what: what, cause: cause, advice: "check the endpoint: something else answers there, perhaps a proxy"}
}

func (s *TokenSource) explainList(what string, err error) error {
	f := explainPortal(what, err, ErrLoginRequired, s.toSignIn())
	switch status(err) {
	case http.StatusForbidden:
		f.advice = "check the account, and that the person is assigned to a role in it"
	case http.StatusBadRequest:
		f.advice = "check the account, of 12 digits"
	}
	return f
}

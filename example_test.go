package awsoidc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithybearer "github.com/aws/smithy-go/auth/bearer"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// The examples run against a fake IAM Identity Center in this process. A
// program that leaves HTTPClient out speaks to the real one.

func ExampleNew() {
	idc := idctest.New()
	src, err := awsoidc.New(awsoidc.Config{
		StartURL:    "https://d-1234567890.awsapps.com/start",
		Region:      "us-east-1",
		SessionName: "corp",
		HTTPClient:  &http.Client{Transport: idc.Transport()},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	_, err = src.Token()
	fmt.Println("sign-in required:", errors.Is(err, awsoidc.ErrLoginRequired))

	_, err = awsoidc.New(awsoidc.Config{StartURL: "http://portal.example.com/start", Region: "us-east-1"})
	fmt.Println("bad configuration:", errors.Is(err, awsoidc.ErrConfig))
	// Output:
	// sign-in required: true
	// bad configuration: true
}

func ExampleTokenSource_Login() {
	idc := idctest.New()
	src, err := awsoidc.New(awsoidc.Config{
		StartURL:    "https://d-1234567890.awsapps.com/start",
		Region:      "us-east-1",
		SessionName: "corp",
		HTTPClient:  &http.Client{Transport: idc.Transport()},
		// Package prompt has a Prompter for terminals.
		Prompt: awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error {
			fmt.Println("open", strings.ReplaceAll(v.URIComplete, v.UserCode, "BCDF-GHJK"))
			return idc.Approve(v.UserCode) // what the person does
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	if err := src.Login(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("signed in to", src)
	// Output:
	// open https://oidc.us-east-1.amazonaws.com/device?user_code=BCDF-GHJK
	// signed in to awsoidc.TokenSource(corp)
}

func ExampleTokenSource_Token() {
	idc, src := signedInOnce()
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: idc.Transport()})

	// Any code that takes an oauth2.TokenSource takes src.
	client := oauth2.NewClient(ctx, src)
	resp, err := client.Get("https://api.example.com/userinfo")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status)

	token, err := src.Token()
	if err != nil {
		fmt.Println(err)
		return
	}
	expires := token.Extra("expires_at").(time.Time)
	fmt.Println("asks again before the token expires:", token.Expiry.Before(expires))
	// Output:
	// 200 OK
	// asks again before the token expires: true
}

func ExampleTokenSource_Client() {
	_, src := signedInOnce()
	client := src.Client("https://api.example.com")
	resp, err := client.Get("https://api.example.com/userinfo")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println(resp.Status)

	_, err = client.Get("https://elsewhere.example/")
	fmt.Println(err)
	// Output:
	// 200 OK
	// Get "https://elsewhere.example/": awsoidc: the token is not sent to https://elsewhere.example, which this client is not bound to; name that origin in the call of Client
}

func ExampleTokenSource_RoleCredentials() {
	idc, src := signedInOnce()
	cfg := aws.Config{ // or what config.LoadDefaultConfig returned
		Region:      "eu-west-1",
		Credentials: src.RoleCredentials("123456789012", "ReadOnly"),
		HTTPClient:  &http.Client{Transport: idc.Transport()},
	}
	caller, err := sts.NewFromConfig(cfg).GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*caller.Arn)

	_, err = src.RoleCredentials("123456789012", "Owner").Retrieve(context.Background())
	fmt.Println("not assigned:", errors.Is(err, awsoidc.ErrNotAssigned))
	// Output:
	// arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_ReadOnly_ea0a804cb19066b6/jane.doe@example.com
	// not assigned: true
}

func ExampleRoleCredentials_Current() {
	_, src := signedInOnce()
	role := src.RoleCredentials("123456789012", "ReadOnly")
	again, err := role.Retrieve(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	current, err := role.Current(context.Background()) // to pass them on
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(current.AccessKeyID == again.AccessKeyID, current.Expires.After(again.Expires))
	// Output: true true
}

func ExampleTokenSource_RetrieveBearerToken() {
	_, src := signedInOnce()
	// Clients of the SDK that use bearer authentication take a TokenProvider.
	var provider smithybearer.TokenProvider = smithybearer.NewTokenCache(src)
	token, err := provider.RetrieveBearerToken(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.Value != "", token.CanExpire, token.Expires.After(time.Now()))
	// Output: true true true
}

func ExampleTokenSource_Bearer() {
	_, src := signedInOnce()
	token, err := src.Bearer(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	req, _ := http.NewRequest(http.MethodGet, "https://api.example.com/userinfo", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	fmt.Println(strings.HasPrefix(req.Header.Get("Authorization"), "Bearer aoa"))
	// Output: true
}

func ExampleTokenSource_Invalidate() {
	idc, src := signIn()
	defer src.Close()
	before, err := src.Bearer(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	idc.RevokeAccessTokens() // from here on every API answers 401
	src.Invalidate(before)
	after, err := src.Bearer(context.Background())
	fmt.Println("another token:", after != before, err)
	// Output: another token: true <nil>
}

// What to do about an error follows from its sentinel; what the service
// answered is in the *wire.Error.
func Example_errors() {
	idc, src := signIn()
	defer src.Close()
	idc.RevokeSessions() // as an administrator can
	token, _ := src.Bearer(context.Background())
	src.Invalidate(token) // an API has answered 401

	_, err := src.Bearer(context.Background())
	switch {
	case errors.Is(err, awsoidc.ErrLoginRequired):
		fmt.Println("call Login")
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Println("try again")
	}
	if answer, ok := errors.AsType[*wire.Error](err); ok {
		fmt.Println(answer.StatusCode, answer.Type, answer.RequestID != "")
	}
	// Output:
	// call Login
	// 400 InvalidGrantException true
}

// signIn returns a source with a session.
func signIn() (*idctest.Server, *awsoidc.TokenSource) {
	idc := idctest.New()
	idc.ApproveAfter(0)
	src, err := awsoidc.New(awsoidc.Config{
		StartURL:    "https://d-1234567890.awsapps.com/start",
		Region:      "us-east-1",
		SessionName: "corp",
		HTTPClient:  &http.Client{Transport: idc.Transport()},
		Prompt:      awsoidc.PromptFunc(func(context.Context, awsoidc.Verification) error { return nil }),
	})
	if err == nil {
		err = src.Login(context.Background())
	}
	if err != nil {
		fmt.Println(err)
	}
	return idc, src
}

// signedInOnce is signIn for the examples that leave the session as it is.
var signedInOnce = sync.OnceValues(signIn)

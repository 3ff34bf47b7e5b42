module github.com/awsoidc/awsoidc

go 1.26.0

require (
	github.com/aws/aws-sdk-go-v2 v1.47.7
	github.com/aws/smithy-go v1.28.8
	golang.org/x/oauth2 v0.37.0
)

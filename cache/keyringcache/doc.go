// Package keyringcache keeps sessions in files that are sealed with a key in the
// operating system's keyring: the Secret Service on Linux (GNOME Keyring,
// KWallet), the Keychain on macOS, the Credential Manager on Windows.
//
//	store, err := keyringcache.New(folder, keyringcache.Options{})
//	src, err := profile.Open(ctx, profile.Options{Profile: "dev", Store: store})
//
// The keyring holds one small secret, made when the first record is saved; the
// records, which grow larger than some keyrings allow, are in the folder,
// sealed by cache.Encrypted. Whoever copies the folder, as a backup does, has no
// token. A program that runs as the user can ask the keyring as this one does.
//
// # Never in plain text
//
// Where the keyring is absent, locked or hung, nothing is read and nothing is
// saved: the error is ErrKeyring, and says what to do. There is no other place
// that a key or a record goes to. [Options.Export] is the one exception, for
// those who want the AWS CLI beside the keyring, and says what it writes.
//
// # Waiting
//
// A keyring may ask a person for a password, or never answer. Every call honours
// its context and [Options.Timeout]. A TokenSource waits 5 seconds for a record:
// a program that a person has started calls [Store.Unlock] first. What a keyring
// answers later is not lost: the next call has it.
//
// # A lost key
//
// Where the keyring answers and does not have the key, because it was reset or
// is another one, the records can't be read any more. They count as missing
// (ErrKeyLost), a new key is made, and the person signs in again.
package keyringcache

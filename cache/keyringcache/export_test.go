package keyringcache

// SetKeyring replaces the operating system's keyring.
func (s *Store) SetKeyring(get func(service, account string) (string, error), set func(service, account, item string) error) {
	s.keyring.getItem, s.keyring.setItem = get, set
}

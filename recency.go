package awsoidc

// A recency is entries in the order of their use. The entries themselves are
// the list, because one that finds its elements by an index of its own would
// take as much memory as the rest of an entry. It is guarded by identities.mu.
type recency struct {
	newest, oldest *entry
	len            int
}

// add makes e, which must be in no order, the newest.
func (r *recency) add(e *entry) {
	e.listed, e.older = true, r.newest
	if r.newest != nil {
		r.newest.newer = e
	} else {
		r.oldest = e
	}
	r.newest = e
	r.len++
}

// remove takes e out, which must be in r.
func (r *recency) remove(e *entry) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		r.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		r.oldest = e.newer
	}
	e.listed, e.newer, e.older = false, nil, nil
	r.len--
}

// clear takes all out.
func (r *recency) clear() {
	for r.oldest != nil {
		r.remove(r.oldest)
	}
}

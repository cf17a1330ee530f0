package presence

// earlyClaims is what hidden, shown and custom records claimed of an epoch
// whose opened or moved was not read yet. Only those of the highest epoch are
// kept: whoever claims an epoch has stored its opening, so that opening will
// be read, and lower epochs no longer count then.
type earlyClaims struct {
	epoch     Epoch
	at        Time // of the latest claim; decides when a claim alone is forgotten
	hidden    bool
	hiddenRev uint64 // 0: nothing hidden or shown was claimed
	customRev uint64 // 0: nothing custom was claimed
	status    *Status
}

// claimEarly keeps what r, a hidden, shown or custom of an epoch not known
// yet, will mean once that epoch opens.
func (s *FoldedSession) claimEarly(r *Record) {
	if s.early == nil || s.early.epoch.Compare(r.Epoch) < 0 {
		s.early = &earlyClaims{epoch: r.Epoch, at: r.Time}
	}
	e := s.early
	if e.epoch != r.Epoch {
		return
	}
	e.at = max(e.at, r.Time)
	switch {
	case r.Kind == RecordCustom:
		if r.Revision > e.customRev {
			e.customRev, e.status = r.Revision, r.Status
		}
	case r.Revision > e.hiddenRev:
		e.hiddenRev, e.hidden = r.Revision, r.Kind == RecordHidden
	}
}

// takeEarly removes and returns what was claimed of the epoch e, with whatever
// was claimed of lower ones: they are over.
func (s *FoldedSession) takeEarly(e Epoch) (claims earlyClaims) {
	if s.early == nil {
		return claims
	}
	switch c := s.early.epoch.Compare(e); {
	case c > 0:
		return claims
	case c == 0:
		claims = *s.early
	}
	s.early = nil
	return claims
}

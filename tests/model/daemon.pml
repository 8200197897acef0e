/* The daemon: adoption, reaping, its own death and recovery. A part of protocol.pml. */
inline adopt(s, d) {
  /* Heap::adopt by heap 1 of slab s; session d is dead (NOBODY: none is); local b */
#ifndef M_OWNER_LAST
  atomic { may_die(DAEMON); owner[s] = 1 };
#endif
  atomic { may_die(DAEMON); leased[s] = false };
  mine[1] = mine[1] | BIT(s);
  b = FIRST(s);
  do
  :: b < FIRST(s) + BPS ->
    atomic { may_die(DAEMON);
      if
      :: tag[b] == FREE -> cache[1] = cache[1] | BIT(b)
#ifndef M_ADOPTER_LEAVES_RETURNING
      :: tag[b] == RETURNING -> tag[b] = FREE; who[b] = 0; cache[1] = cache[1] | BIT(b)
#endif
      :: tag[b] == HELD && who[b] == d ->
         tag[b] = FREE; gen[b] = (gen[b] + 1) % 4; who[b] = 0; cache[1] = cache[1] | BIT(b)
      :: tag[b] == SHARED && d != NOBODY && (who[b] & BIT(d)) != 0 ->
        who[b] = who[b] & (255 - BIT(d));
        if
        :: who[b] == 0 -> tag[b] = FREE; gen[b] = (gen[b] + 1) % 4; cache[1] = cache[1] | BIT(b)
        :: else -> skip
        fi
      :: else -> skip
      fi
    };
    b++
  :: else -> break
  od;
  b = 0;
#ifndef M_ADOPTER_SILENT
  if
#ifdef M_ADOPTER_TRUSTS_PENDING
  :: returned[s] != 0 ->
#else
  :: returned[s] != 0 || spending[s] ->
#endif
    set_bits(s, 0, DAEMON, true)
  :: else -> skip
  fi;
#endif
#ifdef M_OWNER_LAST
  atomic { may_die(DAEMON); owner[s] = 1 };
#endif
  skip
}

inline raise_summaries(k) {
#ifndef M_SUMMARIES_STAND
  if
  :: hpending[0] != 0 -> atomic { may_die(k); hsummary[0] = true }
  :: else -> skip
  fi;
  if
  :: hpending[1] != 0 -> atomic { may_die(k); hsummary[1] = true }
  :: else -> skip
  fi
#else
  skip
#endif
}

inline reap_slab(s, d) {
  /* Arena::reap in slab s of another's heap; local b, bits */
  b = FIRST(s); bits = 0;
  do
  :: b < FIRST(s) + BPS ->
    atomic { may_die(DAEMON);
      if
      :: tag[b] == HELD && who[b] == d ->
         tag[b] = RETURNING; gen[b] = (gen[b] + 1) % 4; who[b] = REAPER
#ifndef M_REAPER_FORGETS_SHARERS
      :: tag[b] == SHARED && (who[b] & BIT(d)) != 0 ->
        who[b] = who[b] & (255 - BIT(d));
        if
        :: who[b] == 0 -> tag[b] = RETURNING; gen[b] = (gen[b] + 1) % 4; who[b] = REAPER
        :: else -> skip
        fi
#endif
      :: else -> skip
      fi;
      if
#ifdef M_REAPER_SKIPS_RETURNING
      :: tag[b] == RETURNING && who[b] == REAPER -> bits = bits | BIT(b - FIRST(s))
#else
      :: tag[b] == RETURNING && (who[b] == d || who[b] == REAPER) -> bits = bits | BIT(b - FIRST(s))
#endif
      :: else -> skip
      fi
    };
    b++
  :: else -> break
  od;
  b = 0;
  if
#ifdef M_REAPER_SILENT
  :: bits != 0 ->
#elif defined(M_REAPER_TRUSTS_PENDING)
  :: bits != 0 || returned[s] != 0 ->
#else
  :: bits != 0 || returned[s] != 0 || spending[s] ->
#endif
#ifdef M_REAPER_UNFORCED
    set_bits(s, bits, DAEMON, false)
#else
    set_bits(s, bits, DAEMON, true)
#endif
  :: else -> skip
  fi;
  bits = 0
}

inline end_session(d, everywhere) {
  t = 0;
  do
  :: t < NS ->
    if
    :: d == 0 && leased[t] ->
      adopt(t, d)
    :: else -> skip
    fi;
    t++
  :: else -> break
  od;
  t = 0;
  do
  :: t < NS ->
    if
    :: (everywhere || (touched[d] & BIT(t)) != 0) && !(d == 0 && leased[t]) ->
      reap_slab(t, d)
    :: else -> skip
    fi;
    t++
  :: else -> break
  od;
  t = 0;
  raise_summaries(DAEMON);
  atomic { may_die(DAEMON); touched[d] = 0; forgotten[d] = true }
}

inline grant_again(s) {
  /* Arena::retire_run and prepare_run: of a slab of which no block is out, to heap 1 */
  atomic { may_die(DAEMON); owner[s] = 2; leased[s] = false };
  atomic { may_die(DAEMON); owner[s] = 1 };
#ifndef M_GRANT_LEAVES_PENDING
  if
  :: spending[s] -> atomic { may_die(DAEMON); spending[s] = false }
  :: else -> skip
  fi;
#endif
#ifndef M_GRANT_LEAVES_RETURNED
  if
  :: returned[s] != 0 -> atomic { may_die(DAEMON); returned[s] = 0 }
  :: else -> skip
  fi;
#endif
  atomic { mine[1] = mine[1] | BIT(s); cache[1] = cache[1] | BLOCKS(s) }
}

inline run_is_free(s) {
  /* Arena::run_is_free: local b, free. One load for each block */
  b = FIRST(s); free = true;
  do
  :: b < FIRST(s) + BPS ->
    if
    :: tag[b] != FREE -> free = false
    :: else -> skip
    fi;
    b++
  :: else -> break
  od;
  b = 0
}

proctype Daemon() {
  byte before, h, hb, b, bits, t, r, i, x, sl, frees;
  bool known, everywhere, mortal;
#if REUSES
  byte reuses;
  bool free;
#endif
  do
  :: atomic {
     daemon_idle = true;
     if
     :: hsummary[1] || given != 0 || UNBURIED(0) || UNBURIED(1) || UNBURIED(2)
     :: rdeaths < MAXR -> rdeaths++; goto died
     fi;
     daemon_idle = false
     }
#if REUSES
  :: given != 0 ->  /* LeaseReturns::take_back */
     given = 0;
     run_is_free(0);
     if
     :: free ->
       grant_again(0)
     :: else ->
       adopt(0, NOBODY)
     fi
  :: (cache[1] & BLOCKS(0)) == BLOCKS(0) && reuses < REUSES ->   /* the heap has no use for it */
     reuses++;
     atomic { cache[1] = cache[1] & (255 - BLOCKS(0)); mine[1] = mine[1] & 254 };
     grant_again(0)
  :: cache[1] != 0 && frees < 1 && !dead[2] ->   /* for session 2, which need not do anything */
     frees++;
     atomic { touched[2] = touched[2] | 1; heap_allocate(1, 2) }
#endif
#ifdef DAEMON_FREES
  :: frees < 1 ->      /* Heap::free_checked for a session without heaps, of a peer's block */
     frees++;
     atomic {
       may_die(DAEMON);
       if
       :: tag[0] == HELD && leased[0] ->
          tag[0] = RETURNING; gen[0] = (gen[0] + 1) % 4; who[0] = NOBODY; bits = 1
       :: else -> skip
       fi
     };
     if
     :: bits != 0 ->
       set_bits(0, 1, DAEMON, false)
     :: else -> skip
     fi;
     bits = 0
#endif
  :: dead[0] && !forgotten[0] ->
     end_session(0, everywhere)
  :: dead[1] && !forgotten[1] ->
     end_session(1, everywhere)
  :: dead[2] && !forgotten[2] ->
     end_session(2, everywhere)
  :: hsummary[1] ->
     drain(1, DAEMON)
  od;
died:
  daemon_idle = false;
  /* What was private is gone. The new heaps adopt the runs of the old ones, and leases are
     announced again. */
  atomic {
    cache[1] = 0; mine[1] = 0; everywhere = true;
    b = 0; bits = 0; t = 0; r = 0; i = 0; x = 0; sl = 0
  };
  do
  :: t < NS ->
    if
    :: !leased[t] ->
      adopt(t, NOBODY)
    :: else -> skip
    fi;
    t++
  :: else -> break
  od;
  t = 0;
#ifndef M_LEASES_SILENT
  do
  :: t < NS ->
    if
    :: leased[t] ->
      b = FIRST(t); bits = 0;
      do
      :: b < FIRST(t) + BPS ->
         atomic {
           if
           :: tag[b] == RETURNING -> bits = bits | BIT(b - FIRST(t))
           :: else -> skip
           fi;
           b++
         }
      :: else -> break
      od;
      b = 0;
      if
      :: bits != 0 || returned[t] != 0 || spending[t] ->
        set_bits(t, bits, NEVER, true)
      :: else -> skip
      fi;
      bits = 0
    :: else -> skip
    fi;
    t++
  :: else -> break
  od;
  t = 0;
  raise_summaries(NEVER);
#endif
  do
  :: atomic {
       daemon_idle = true;
       (hsummary[1] || UNBURIED(0) || UNBURIED(1) || UNBURIED(2));
       daemon_idle = false
     }
  :: dead[0] && !forgotten[0] ->
     end_session(0, everywhere)
  :: dead[1] && !forgotten[1] ->
     end_session(1, everywhere)
  :: dead[2] && !forgotten[2] ->
     end_session(2, everywhere)
  :: hsummary[1] ->
     drain(1, DAEMON)
  od
}

/* Owner and Client: the peer whose slabs have all the blocks, and those that free the blocks.
   A part of protocol.pml. */
proctype Owner() {
  byte r, i, x, sl, b, allocs, g, looks;
  bool mortal = MORTAL & 1;
  do
  :: hsummary[0] ->
    drain(0, PEER)
  :: looks < LOOKS ->              /* drain_everything: all returned words, pending or not */
    looks++;
    sl = 0;
    do
    :: sl < NS ->
      if
      :: returned[sl] != 0 ->
        take_returned(0, sl, PEER)
      :: else -> skip
      fi;
      sl++
    :: else -> break
    od;
    sl = 0
  :: allocs < ALLOCS && cache[0] != 0 -> allocs++;
    heap_allocate(0, 0)
#if REUSES
  :: (mine[0] & 1) != 0 && (cache[0] & BLOCKS(0)) == BLOCKS(0) ->   /* nothing of it is out */
    atomic {
      may_die(PEER);
      cache[0] = cache[0] & (255 - BLOCKS(0)); mine[0] = mine[0] & 254; given = given | 1
    }
#endif
#ifdef OWN_FREE
  :: allocs < ALLOCS ->                /* FastHeap::free: an exact check, and a store */
    allocs++;
    if :: b = 0 :: b = NB - 1 fi;
    atomic { g = gen[b]; if :: tag[b] != HELD -> b = 255 :: else -> skip fi };
    if
    :: b != 255 ->
      atomic { may_die(PEER);
        /* whoever changed the word since loses; the block is free once, and in this heap's hands */
        tag[b] = FREE; gen[b] = (g + 1) % 4; who[b] = 0;
        assert((cache[0] & BIT(b)) == 0);
        cache[0] = cache[0] | BIT(b)
      }
    :: else -> skip
    fi;
    b = 0; g = 0
#endif
  :: atomic {
       owner_idle = true;
       if
       :: hsummary[0] || (allocs < ALLOCS && cache[0] != 0) || looks < LOOKS
       :: mortal && deaths < MAXD -> deaths++; goto died
       fi;
       owner_idle = false
     }
  od;
died:
  atomic { dead[0] = true; owner_idle = false; cache[0] = 0; mine[0] = 0 }
}

proctype Client(byte me) {
  byte before, h, hb, b, g, a, ops, s, next;
  bool known, ok, mortal = (MORTAL >> me) & 1;
  do
  :: ops < (me == 1 -> OPS : OPS2) ->
    ops++;
    if
    :: b = 0
#if NB > 1
    :: b = NB - 1
#endif
    fi;
    /* the ref that it was handed: of the block as it is now, or was when it was handed out */
    atomic {
      if
      :: tag[b] == HELD || tag[b] == SHARED -> g = gen[b]; a = born[b]
      :: g = 0; a = 1
      fi
    };
    s = SLAB(b);
#ifndef M_TOUCH_LATE
    atomic { may_die(PEER); touched[me] = touched[me] | BIT(s) };
#endif
    may_die(PEER);
    ok = false;
    if
    :: true ->
#ifdef M_FREE_STORE
      if :: tag[b] == HELD && gen[b] == g -> ok = true :: else -> skip fi;
      if
      :: ok -> atomic { tag[b] = RETURNING; gen[b] = (g + 1) % 4; who[b] = me }
      :: else -> skip
      fi;
#else
      atomic {
        if
        :: tag[b] == HELD && gen[b] == g ->
          assert(a == born[b]);        /* no stale ref frees */
          tag[b] = RETURNING; gen[b] = (g + 1) % 4; who[b] = me; ok = true
        :: else -> skip
        fi
      }
#endif
#ifdef TAKE
    :: true ->
#ifdef M_TAKE_STORE
      if :: tag[b] == HELD && gen[b] == g -> next = 1 :: else -> next = 0 fi;
      if :: next == 1 -> atomic { tag[b] = HELD; gen[b] = g; who[b] = me } :: else -> skip fi;
      next = 0;
#else
      atomic { if :: tag[b] == HELD && gen[b] == g -> who[b] = me :: else -> skip fi }
#endif
#endif
#ifdef SHARE
    :: true ->
      atomic {                         /* share: what it holds, or what is shared already */
        if
        :: tag[b] == HELD && gen[b] == g && who[b] == me -> tag[b] = SHARED; who[b] = BIT(me)
        :: tag[b] == SHARED && gen[b] == g -> who[b] = who[b] | BIT(me)
        :: else -> skip
        fi
      }
    :: true ->
      atomic {                         /* release; the last one frees */
        if
        :: tag[b] == SHARED && gen[b] == g && (who[b] & BIT(me)) != 0 ->
          if
          :: (who[b] & (255 - BIT(me))) != 0 -> who[b] = who[b] & (255 - BIT(me))
          :: else ->
            assert(a == born[b]);
            tag[b] = RETURNING; who[b] = me;
#ifndef M_RELEASE_KEEPS_GENERATION
            gen[b] = (g + 1) % 4;
#endif
#ifndef M_RELEASE_UNPUBLISHED
            ok = true
#endif
          fi
        :: else -> skip
        fi
      }
#endif
    fi;
#ifdef M_TOUCH_LATE
    atomic { may_die(PEER); touched[me] = touched[me] | BIT(s) };
#endif
    if
    :: ok ->
      set_bits(s, BIT(b - FIRST(s)), PEER, false)
    :: else -> skip
    fi;
    atomic { before = 0; h = 0; hb = 0; known = false; ok = false; b = 0; g = 0; a = 0; s = 0 }
  :: else -> break
  od;
  /* its work is done, but not its life: what it holds it holds until it dies */
  if :: mortal && deaths < MAXD -> deaths++; goto died :: true fi;
  goto done;
died:
  dead[me] = true;
done:
  finished++
}

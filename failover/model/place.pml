/*
 * place.pml - the owner record moves to the other disk, and perhaps back (rule 3), while both nodes swap
 * it, crash, and lose disks for a while.
 *
 * One filer: a value is an epoch and an owner.  Disk 0 holds the record of generation 0.  Swaps and the
 * writing of the record are under way for a while, their answers may be lost, and they may land after
 * their process has ended; the next process starts when they have landed or been refused.
 *
 *   P1  asserts in told() and where a read ends: of one epoch nobody ever knows two owners, and what
 *       is read is not older than what anybody knew when the read began
 *
 * Nobody waits for anything here: whatever hangs may be given up at any moment.
 */
#ifndef SWAPS
#define SWAPS 2
#endif
#ifndef MOVES
#define MOVES 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef FLIPS
#define FLIPS 1                 /* paths that fail; they come back */
#endif

#define EPOCH(v) ((v)/2)
#define OWNER(v) ((v)%2)
#define NONE 255

#ifdef BUG_UNBOUND              /* a promise does not stop swaps */
#define MAY_SWAP(n) true
#else
#define MAY_SWAP(n) (!bound[n])
#endif
#ifdef BUG_BLIND                /* given up by a write, not by compare-and-swap */
#define MAY_GIVE_UP(n) true
#else
#define MAY_GIVE_UP(n) (kind[bdisk[n]]==NOTHING || gen[bdisk[n]] < bgen[n])
#endif
#ifdef BUG_SOMEDISKS            /* a disk that is not readable is left out at the start */
#define SEES_ENOUGH(n) true
#else
#define SEES_ENOUGH(n) (REACH(n,0) && REACH(n,1))
#endif

mtype = { NOTHING, RECORD, GIVENUP };
mtype kind[2];
byte gen[2], val[2];            /* the arbitration block of each disk */
bool away[4];                   /* node n does not reach disk d: 2n+d */
#define REACH(n,d) (!away[2*(n)+(d)])

bool up[2];
byte here[2], hgen[2];          /* where a node takes the record to be */
byte known[2];                  /* NONE: never read */
byte maybe[2];                  /* NONE: no swap without an answer */
bool bound[2]; byte bdisk[2], bgen[2];
byte ndisk[2], ngen[2];         /* the promise on its members; generation 0: none */

/* a read: begins, here, then where the promise says */
byte rstep[2], rval[2], rold[2];
bool rlate[2];                  /* it began after the answer that is waited for */
byte from[2];                   /* what it read last and may swap; NONE: nothing */

/* a swap under way, and what its node waits for */
bool fly[2]; byte fdisk[2], fgen[2], ffrom[2], fto[2];
bool waits[2]; bool rebound[2];
mtype = { NOANSWER, LANDED, REFUSED };
mtype answer[2];

/* a move: 1 proposed, 2 promised, 3 asked, 4 the record is under way, 5 it landed, 6 it did not */
byte move[2]; mtype tkind[2]; byte tgen[2], tval[2], put[2];
bool putting[2];
bool agreeing[2];               /* as the partner: bound, the promise is not durable yet */
byte said[2], saidk[2], saidm[2]; /* its answer: about which generation, and what it knows */

byte newest = 0;                /* the greatest epoch that anybody knew */
byte seen[8];                   /* 1 + owner, by epoch */
byte swaps = 0, moves = 0, crashes = 0, flips = 0;

inline told(vv) {
  assert(seen[EPOCH(vv)]==0 || seen[EPOCH(vv)]==1+OWNER(vv));
  seen[EPOCH(vv)] = 1+OWNER(vv);
  if :: EPOCH(vv) > newest -> newest = EPOCH(vv) :: else fi
}
/* what a swap without an answer expected is gone: it has landed, or it never will */
inline learn(nn,vv) {
  if :: known[nn]==NONE || EPOCH(vv) > EPOCH(known[nn]) -> known[nn]=vv :: else fi;
  if :: maybe[nn]!=NONE && EPOCH(vv) >= EPOCH(maybe[nn]) -> maybe[nn]=NONE :: else fi
}
inline bind(nn,dd,gg) { bound[nn]=1; bdisk[nn]=dd; bgen[nn]=gg; rebound[nn]=1; rstep[nn]=0 }
inline use(nn,dd,gg) { here[nn]=dd; hgen[nn]=gg; bound[nn]=0; maybe[nn]=NONE; rebound[nn]=1; from[nn]=NONE; move[nn]=0; rstep[nn]=0 }
inline drop(nn) { bound[nn]=0; rstep[nn]=0; move[nn]=0; ngen[nn]=0 }
byte t; bool unsure;
#ifdef BUG_TIE                  /* of two swaps without an answer one is taken as it is */
#define TIE(cc) false
#else
#define TIE(cc) (EPOCH(cc)==EPOCH(t) && cc!=t)
#endif
/* of two that may have happened neither did for sure: a newer epoch than both */
inline max_claim(cc) {
  if
  :: cc!=NONE && EPOCH(cc) > EPOCH(t) -> t=cc; unsure=1
  :: cc!=NONE && unsure && TIE(cc) -> t=t+2
  :: else
  fi
}

proctype Node(byte n) {
  byte y;
end:
  do
  /* read: the block ... */
  :: d_step { up[n] && rstep[n]==0 && REACH(n,here[n]) && kind[here[n]]==RECORD && gen[here[n]]==hgen[n] ->
       rval[n]=val[here[n]]; rold[n]=newest; rlate[n]=(waits[n] && answer[n]!=NOANSWER); rstep[n]=1 }
  /* ... its answer ... */
  :: d_step { up[n] && rstep[n]==1 ->
       learn(n,rval[n]); rstep[n]=2 }
  /* ... and where the promise says */
  :: d_step { up[n] && rstep[n]==2 && (!bound[n] || REACH(n,bdisk[n])) ->
       if :: bound[n] && kind[bdisk[n]]==RECORD && gen[bdisk[n]]==bgen[n] ->
               rval[n]=val[bdisk[n]]; use(n,bdisk[n],bgen[n])
          :: else fi;
       assert(EPOCH(rval[n]) >= rold[n]);                 /* P1: not older than when it began */
       told(rval[n]); learn(n,rval[n]); from[n]=rval[n];
       if :: waits[n] && rlate[n] && !bound[n] -> waits[n]=0; rebound[n]=0 :: else fi;
       rstep[n]=0; rval[n]=0; rold[n]=0; rlate[n]=0 }

  /* swap */
  :: d_step { up[n] && from[n]!=NONE && !waits[n] && !fly[n] && rstep[n]==0 && swaps<SWAPS && MAY_SWAP(n) ->
       swaps++; fly[n]=1; fdisk[n]=here[n]; fgen[n]=hgen[n]; ffrom[n]=from[n];
          fto[n]=2*(EPOCH(from[n])+1)+n; maybe[n]=fto[n]; waits[n]=1; rebound[n]=0; answer[n]=NOANSWER; from[n]=NONE }
  /* its answer: one that came after a promise says nothing */
  :: d_step { up[n] && waits[n] && answer[n]==LANDED && !rebound[n] -> told(fto[n]); learn(n,fto[n]); waits[n]=0 }
  :: d_step { up[n] && waits[n] && answer[n]==REFUSED && !rebound[n] -> maybe[n]=NONE; waits[n]=0 }

  /* move, as the proposer */
  :: d_step { up[n] && !bound[n] && !agreeing[n] && known[n]!=NONE && moves<MOVES && REACH(n,1-here[n]) ->
       moves++; y=1-here[n]; tkind[n]=kind[y]; tgen[n]=gen[y]; tval[n]=val[y];
       t=hgen[n]; if :: gen[y]>t -> t=gen[y] :: else fi; if :: ngen[n]>t -> t=ngen[n] :: else fi;
       if :: ngen[1-n]>t -> t=ngen[1-n] :: else fi;
       bind(n,y,t+1); t=0; move[n]=1 }
#ifdef BUG_UNNOTED              /* the promise is in memory only */
  :: d_step { up[n] && move[n]==1 -> move[n]=2 }
  :: d_step { up[n] && agreeing[n] -> agreeing[n]=0; said[1-n]=bgen[n]; saidk[1-n]=known[n]; saidm[1-n]=maybe[n] }
#else
  :: d_step { up[n] && move[n]==1 -> ndisk[n]=bdisk[n]; ngen[n]=bgen[n]; move[n]=2 }
  :: d_step { up[n] && agreeing[n] -> ndisk[n]=bdisk[n]; ngen[n]=bgen[n]; agreeing[n]=0;
       said[1-n]=bgen[n]; saidk[1-n]=known[n]; saidm[1-n]=maybe[n] }
#endif
  /* the partner is asked, and agrees */
  :: d_step { up[n] && move[n]==2 && up[1-n] && !bound[1-n] && known[1-n]!=NONE && hgen[1-n]==hgen[n] &&
              here[1-n]==here[n] && REACH(1-n,bdisk[n]) && gen[bdisk[n]] < bgen[n] ->
       bind(1-n,bdisk[n],bgen[n]); agreeing[1-n]=1; move[n]=3 }
  /* its answer: what both know */
  :: d_step { up[n] && move[n]==3 && said[n]==bgen[n] ->
       t=known[n]; max_claim(saidk[n]); unsure=0;
#ifndef BUG_NOMAYBE             /* swaps without an answer are forgotten */
       max_claim(maybe[n]); max_claim(saidm[n]);
#endif
       put[n]=t; t=0; unsure=0; putting[n]=1; move[n]=4 }
  :: d_step { up[n] && move[n]==5 -> use(n,bdisk[n],bgen[n]) }

  /* a promise at which nobody works: the record came there, or it is given up there */
  :: d_step { up[n] && bound[n] && !agreeing[n] && REACH(n,bdisk[n]) && kind[bdisk[n]]==RECORD &&
              gen[bdisk[n]] >= bgen[n] -> use(n,bdisk[n],gen[bdisk[n]]) }
  :: d_step { up[n] && bound[n] && !agreeing[n] && REACH(n,bdisk[n]) && kind[bdisk[n]]==GIVENUP &&
              gen[bdisk[n]] >= bgen[n] -> drop(n) }
  :: d_step { up[n] && bound[n] && !agreeing[n] && REACH(n,bdisk[n]) && MAY_GIVE_UP(n) ->
       kind[bdisk[n]]=GIVENUP; gen[bdisk[n]]=bgen[n]; val[bdisk[n]]=0; drop(n) }
#ifdef BUG_FORGET               /* a move that hangs is given up in memory only */
  :: d_step { up[n] && bound[n] && !agreeing[n] -> drop(n) }
#endif
  /* a promise that is over stays on the members until something is written there */
  :: d_step { up[n] && !bound[n] && ngen[n]!=0 -> ngen[n]=0 }

  /* a process ends, and another begins */
  :: d_step { up[n] && crashes<CRASHES -> crashes++; up[n]=0; bound[n]=0; known[n]=NONE; maybe[n]=NONE;
       rstep[n]=0; from[n]=NONE; waits[n]=0; move[n]=0; agreeing[n]=0; rebound[n]=0; here[n]=0; hgen[n]=0 }
  :: d_step { !up[n] && !fly[n] && !putting[n] && SEES_ENOUGH(n) && ((REACH(n,0) && kind[0]==RECORD) || (REACH(n,1) && kind[1]==RECORD)) ->
       if :: REACH(n,1) && kind[1]==RECORD && !(REACH(n,0) && kind[0]==RECORD && gen[0] > gen[1]) ->
               here[n]=1; hgen[n]=gen[1]
          :: else -> here[n]=0; hgen[n]=gen[0] fi;
       up[n]=1;
       if :: ngen[n] > hgen[n] -> bind(n,ndisk[n],ngen[n]); rebound[n]=0 :: else fi }
  od
}

/* what is under way lands, is refused, or is lost with its process */
proctype Land(byte n) {
end:
  do
  :: d_step { fly[n] && REACH(n,fdisk[n]) ->
       fly[n]=0;
       if :: kind[fdisk[n]]==RECORD && gen[fdisk[n]]==fgen[n] && val[fdisk[n]]==ffrom[n] ->
               val[fdisk[n]]=fto[n]; answer[n]=LANDED
          :: else -> answer[n]=REFUSED fi }
  :: d_step { fly[n] && REACH(n,fdisk[n]) && kind[fdisk[n]]==RECORD && gen[fdisk[n]]==fgen[n] &&
              val[fdisk[n]]==ffrom[n] -> fly[n]=0; val[fdisk[n]]=fto[n]; answer[n]=REFUSED; rebound[n]=1 }
  :: d_step { fly[n] && (!up[n] || !REACH(n,fdisk[n])) -> fly[n]=0; answer[n]=REFUSED; rebound[n]=1 }
  :: d_step { putting[n] ->
       putting[n]=0;
       if :: REACH(n,1-here[n]) || !up[n] -> skip :: else fi;
       if :: move[n]==4 && kind[bdisk[n]]==tkind[n] && gen[bdisk[n]]==tgen[n] && val[bdisk[n]]==tval[n] ->
               kind[bdisk[n]]=RECORD; gen[bdisk[n]]=bgen[n]; val[bdisk[n]]=put[n]; move[n]=5
          :: else -> if :: move[n]==4 -> move[n]=6 :: else fi fi }
  od
}

proctype Paths() {
end:
  do
  :: d_step { flips<FLIPS && !away[0] -> away[0]=1; flips++ }
  :: d_step { flips<FLIPS && !away[1] -> away[1]=1; flips++ }
  :: d_step { flips<FLIPS && !away[2] -> away[2]=1; flips++ }
  :: d_step { flips<FLIPS && !away[3] -> away[3]=1; flips++ }
  :: d_step { away[0] -> away[0]=0 }
  :: d_step { away[1] -> away[1]=0 }
  :: d_step { away[2] -> away[2]=0 }
  :: d_step { away[3] -> away[3]=0 }
  od
}

init {
  d_step {
    kind[0]=RECORD; val[0]=2; kind[1]=NOTHING;           /* epoch 1, owner 0 */
    up[0]=1; up[1]=1; known[0]=NONE; known[1]=NONE; maybe[0]=NONE; maybe[1]=NONE; from[0]=NONE; from[1]=NONE;
    seen[1]=1; newest=1
  }
  atomic { run Node(0); run Node(1); run Land(0); run Land(1); run Paths() }
}

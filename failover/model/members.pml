/*
 * members.pml - a mailbox member is replaced (rule 2): node a serves, {0,1} become {0,2}; node b
 * watches the members that it knows, and takes over.
 *
 * Root and record are reachable; each member's way from a and from b may fail.  Time as in own.pml:
 * ticks that come at any moment.  b opens behind its fence and answers; a goes on until its lease
 * ends: it never looks at the record here, which is a node that was paused.
 *
 * Two questions that do not touch each other, each with a state space of its own: the lease (P3), and
 * with -DMARKS the solo mark (P2), for which time is left out.
 *
 *   P3  assert at ANSWER: a does not answer once b has
 *   P2  assert at OPEN: nothing that a acknowledged alone is missing
 *   P4  no invalid end state
 */
#ifndef LEASE
#define LEASE 1
#endif
#ifndef FLIPS
#define FLIPS 1                 /* path failures */
#endif

#define OLD 0                   /* a's renewals count on {0,1} */
#define JOINT 1                 /* ... on both sets            */
#define NEW 2                   /* ... on {0,2}                */

byte phase = OLD;
byte rootgen = 0;               /* in the root: what counts */
bool rooting = 0;               /* a's root write is under way */
bool key[3];                    /* a may write to disk m */
bool ra[3], rb[3];              /* a, b reaches disk m */
byte left[3];                   /* ticks that a's newest renewal on m is good for */
bool fly[3]; byte worth[3];     /* a renewal under way to m, and what it is still worth */
byte lease = 0;                 /* a's */
bool noted = 0;                 /* the sectors name both sets */

bool mk[3];                     /* solo mark on m */
bool solo = 0;                  /* a wants to acknowledge alone */
bool alone = 0;                 /* ... and has */

mtype = { IDLE, WATCH, SWAPPED, FENCE, LOOK, WAIT2, REREAD, OPEN, REFUSED };
mtype b = IDLE;
byte bgen = 0;                  /* the members that b knows */
bool chg[3];                    /* m changed since b's snapshot */
byte wait = 0, k = 0;
bool answered = 0;
byte flips = 0;

#define B2 (1+bgen)             /* b's second member */
#define BSEES (rb[0] && rb[B2])
#define BCHG (chg[0] || chg[B2])

inline max(x,y) { if :: (x < y) -> x = y :: else fi }
byte r, s;
/* the renewal that reached the serving quorum, one of two, of each set that counts */
inline renew() {
  if :: left[0] > left[1] -> r = left[0] :: else -> r = left[1] fi;
  if :: left[0] > left[2] -> s = left[0] :: else -> s = left[2] fi;
  if
  :: phase==OLD -> max(lease, r)
#ifdef BUG_EARLY                /* the new members count before the root says so */
  :: phase==JOINT -> max(lease, s)
#else
#ifdef BUG_LATE                 /* the old ones alone count until a knows that the root says so */
  :: phase==JOINT -> max(lease, r)
#else
  :: phase==JOINT -> if :: r < s -> s = r :: else fi; max(lease, s)
#endif
#endif
  :: phase==NEW -> max(lease, s)
  fi;
  r = 0; s = 0
}

#define MARKED_OLD (mk[0] || mk[1])
#define MARKED_NEW (mk[0] || mk[2])
#ifdef BUG_NOCARRY              /* a mark that is set already does not go to the new member */
#define CARRIED true
#else
#define CARRIED (!solo || (mk[0] && mk[2]))
#endif

proctype A() {
  do
#ifndef MARKS
  /* ANSWER is asked for where b opens: who could answer then would */
  /* beats go to the members of each set that is in use */
  :: d_step { !fly[0] && lease < LEASE -> fly[0]=1; worth[0]=LEASE }
  :: d_step { !fly[1] && phase!=NEW && lease < LEASE -> fly[1]=1; worth[1]=LEASE }
  :: d_step { !fly[2] && phase!=OLD && lease < LEASE -> fly[2]=1; worth[2]=LEASE }
#endif
  /* rule 2 */
  :: d_step { phase==OLD && !noted && ra[0] && ra[2] && key[0] && key[2] -> noted=1; phase=JOINT }
  :: d_step { phase==JOINT && !rooting && rootgen==0 && CARRIED -> rooting=1 }
  :: d_step { phase==JOINT && !rooting && rootgen==1 -> phase=NEW }
#ifdef MARKS
  /* solo: acknowledged when the mark is on the serving quorum of each set in use */
  :: d_step { !solo -> solo=1 }
  :: d_step { solo && !mk[0] && ra[0] && key[0] -> mk[0]=1 }
  :: d_step { solo && !mk[1] && phase!=NEW && ra[1] && key[1] -> mk[1]=1 }
  :: d_step { solo && !mk[2] && phase!=OLD && ra[2] && key[2] -> mk[2]=1 }
  :: d_step { solo && !alone && key[0] && (phase==NEW || MARKED_OLD) && (phase==OLD || MARKED_NEW) ->
       alone=1 }
#endif
  :: b==REFUSED || answered -> break
  od
}

/* what is under way: renewals, and the root, which a fence drains */
proctype Land(byte m) {
  do
  :: d_step { fly[m] && ra[m] && key[m] -> chg[m]=1; max(left[m], worth[m]); fly[m]=0; worth[m]=0; renew() }
  :: d_step { fly[m] && (!ra[m] || !key[m]) -> fly[m]=0; worth[m]=0 }
  :: b==REFUSED || answered -> break
  od
}
proctype Root() {
  do
  :: d_step { rooting && key[0] -> rootgen=1; rooting=0 }
  :: d_step { rooting && !key[0] -> rooting=0 }
  :: b==REFUSED || answered -> break
  od
}

proctype B() {
  do
  :: d_step { b==IDLE && bgen!=rootgen -> bgen=rootgen }       /* reads root and sectors */
#ifdef MARKS
  :: d_step { b==IDLE && BSEES -> k=0; b=FENCE }
#endif
  :: d_step { b==IDLE && BSEES -> chg[0]=0; chg[1]=0; chg[2]=0; wait=LEASE; b=WATCH }
  :: d_step { b==WATCH && (BCHG || !BSEES) -> wait=0; b=IDLE }
  :: d_step { b==WATCH && wait==0 && BSEES && !BCHG -> k=0; b=FENCE }
  :: d_step { b==FENCE && k<3 -> key[k]=0; k++; if :: k==3 -> wait=LEASE; b=LOOK :: else fi }
  :: d_step { b==LOOK && BSEES -> if :: BCHG -> b=WAIT2 :: else -> wait=0; b=REREAD fi }
  :: d_step { b==LOOK && !BSEES -> wait=0; b=REFUSED }
  :: d_step { b==WAIT2 && wait==0 -> b=REREAD }
  :: d_step { b==REREAD && !BSEES -> b=REFUSED }
#ifndef BUG_UNREAD              /* the root is not asked which members count */
  :: d_step { b==REREAD && BSEES && rootgen!=bgen -> b=REFUSED }
  :: d_step { b==REREAD && BSEES && rootgen==bgen && (mk[0] || mk[B2]) -> b=REFUSED }
  :: d_step { b==REREAD && BSEES && rootgen==bgen && !(mk[0] || mk[B2]) -> b=OPEN }
#else
  :: d_step { b==REREAD && BSEES && (mk[0] || mk[B2]) -> b=REFUSED }
  :: d_step { b==REREAD && BSEES && !(mk[0] || mk[B2]) -> b=OPEN }
#endif
#ifdef MARKS
  :: d_step { b==OPEN -> assert(!alone); answered=1 }
#else
  :: d_step { b==OPEN -> assert(lease==0); answered=1 }        /* else a could answer now */
#endif
  :: b==REFUSED || answered -> break
  od
}

proctype Clock() {
  byte i;
  do
  :: d_step { (lease+wait+left[0]+left[1]+left[2]+worth[0]+worth[1]+worth[2]) > 0 ->
       if :: lease>0 -> lease-- :: else fi;
       if :: wait>0 -> wait-- :: else fi;
       i=0;
       do :: i<3 -> if :: left[i]>0 -> left[i]-- :: else fi; if :: worth[i]>0 -> worth[i]-- :: else fi; i++
          :: else -> break od; i=0 }
  :: b==REFUSED || answered -> break
  od
}

proctype Fault(byte m) {
  do
  :: d_step { flips<FLIPS && ra[m] -> ra[m]=0; flips++ }
  :: d_step { flips<FLIPS && rb[m] -> rb[m]=0; flips++ }
  :: d_step { !ra[m] -> ra[m]=1 }
  :: d_step { !rb[m] -> rb[m]=1 }
  :: b==REFUSED || answered -> break
  od
}

init {
  d_step {
    key[0]=1; key[1]=1; key[2]=1; ra[0]=1; ra[1]=1; ra[2]=1; rb[0]=1; rb[1]=1; rb[2]=1;
    left[0]=LEASE; left[1]=LEASE; lease=LEASE
  }
  atomic { run A(); run B(); run Land(0); run Land(1); run Land(2); run Root(); run Clock();
           run Fault(0); run Fault(1); run Fault(2) }
}

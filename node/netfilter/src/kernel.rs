//! Numbers of the kernel's nf_tables interface (`linux/netfilter/nf_tables.h`), as far as we read them back ourselves.

pub(crate) const INET: u8 = 1;
pub(crate) const SUBSYSTEM: u16 = 10;
/// In front of a message's kind.
pub(crate) const SUBSYSTEM_SHIFTED: u16 = SUBSYSTEM << 8;

/// `NFT_MSG_*`.
pub(crate) mod kind {
    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const GET_TABLE: u16 = 1;
    pub(crate) const GET_CHAIN: u16 = 4;
    pub(crate) const GET_RULE: u16 = 7;
    pub(crate) const NEW_SET: u16 = 9;
    pub(crate) const GET_SET: u16 = 10;
    pub(crate) const DELETE_SET: u16 = 11;
    pub(crate) const NEW_ELEMENT: u16 = 12;
    pub(crate) const GET_ELEMENT: u16 = 13;
    pub(crate) const DELETE_ELEMENT: u16 = 14;
    pub(crate) const NEW_GENERATION: u16 = 15;
    pub(crate) const GET_GENERATION: u16 = 16;
}

/// `NFTA_*`, by what they are attributes of.
pub(crate) mod attribute {
    /// The table's name, in every kind of message.
    pub(crate) const TABLE: usize = 1;
    pub(crate) const TABLE_FLAGS: usize = 2;
    pub(crate) const TABLE_USE: usize = 3;
    pub(crate) const TABLE_OWNER: usize = 7;
    pub(crate) const CHAIN_NAME: usize = 3;
    pub(crate) const CHAIN_HOOK: usize = 4;
    pub(crate) const CHAIN_TYPE: usize = 7;
    pub(crate) const HOOK_NUMBER: usize = 1;
    pub(crate) const HOOK_PRIORITY: usize = 2;
    pub(crate) const RULE_CHAIN: usize = 2;
    pub(crate) const RULE_EXPRESSIONS: usize = 4;
    pub(crate) const RULE_USERDATA: usize = 7;
    pub(crate) const SET_NAME: usize = 2;
    pub(crate) const SET_FLAGS: usize = 3;
    pub(crate) const SET_KEY_TYPE: usize = 4;
    pub(crate) const SET_KEY_LEN: usize = 5;
    pub(crate) const SET_DATA_TYPE: usize = 6;
    pub(crate) const LIST_SET: usize = 2;
    pub(crate) const LIST_ELEMENTS: usize = 3;
    pub(crate) const ELEMENT_KEY: usize = 1;
    pub(crate) const ELEMENT_DATA: usize = 2;
    pub(crate) const ELEMENT_FLAGS: usize = 3;
    pub(crate) const DATA_VALUE: usize = 1;
    pub(crate) const DATA_VERDICT: usize = 2;
    pub(crate) const EXPRESSION_NAME: usize = 1;
    pub(crate) const EXPRESSION_DATA: usize = 2;
    pub(crate) const GENERATION_ID: usize = 1;
    pub(crate) const GENERATION_PID: usize = 2;
    pub(crate) const GENERATION_COMMAND: usize = 3;
}

/// `NFT_TABLE_F_DORMANT`: the table's chains see no packets.
pub(crate) const DORMANT: u32 = 1;
/// `NFT_TABLE_F_PERSIST`: an owned table that stays when its owner ends.
pub(crate) const PERSISTENT: u32 = 4;
/// With `NFT_TABLE_F_OWNER`: only the socket that made or took the table may change it.
pub(crate) const OWNED_AND_PERSISTENT: u32 = 2 | PERSISTENT;

/// Flags of sets and of their elements.
pub(crate) mod set {
    pub(crate) const INTERVAL: u32 = 4;
    pub(crate) const MAP: u32 = 8;
    pub(crate) const TIMEOUT: u32 = 16;
    pub(crate) const ELEMENT_INTERVAL_END: u32 = 1;
    pub(crate) const DATA_VERDICT: u32 = 0xffff_ff00;
    /// nft's number of the type of marks.
    pub(crate) const DATA_MARK: u32 = 19;
}

/// Keys of `meta` and `ct`, bases of `payload`, operators.
pub(crate) mod load {
    pub(crate) const META_MARK: u32 = 3;
    pub(crate) const META_IIF: u32 = 4;
    pub(crate) const META_IIFNAME: u32 = 6;
    pub(crate) const META_OIFNAME: u32 = 7;
    pub(crate) const META_NFPROTO: u32 = 15;
    pub(crate) const META_L4PROTO: u32 = 16;
    pub(crate) const CT_STATE: u32 = 0;
    pub(crate) const CT_STATUS: u32 = 2;
    pub(crate) const CT_PROTO_DST: u32 = 12;
    pub(crate) const CT_DST_IP: u32 = 20;
    pub(crate) const CT_DST_IP6: u32 = 22;
    /// `IP_CT_DIR_ORIGINAL`.
    pub(crate) const CT_ORIGINAL: u8 = 0;
    /// `IPS_CONFIRMED`.
    pub(crate) const STATUS_CONFIRMED: u32 = 8;
    /// `IPS_DST_NAT`.
    pub(crate) const STATUS_DNAT: u32 = 32;
    pub(crate) const NETWORK: u32 = 1;
    pub(crate) const TRANSPORT: u32 = 2;
    pub(crate) const NFPROTO_IPV4: u8 = 2;
    pub(crate) const NFPROTO_IPV6: u8 = 10;
    pub(crate) const EQUAL: u32 = 0;
    pub(crate) const NOT_EQUAL: u32 = 1;
    pub(crate) const LOOKUP_INVERT: u32 = 1;
    pub(crate) const REJECT_ICMPX: u32 = 2;
    pub(crate) const ICMPX_PORT_UNREACHABLE: u8 = 1;
    pub(crate) const LEVEL_INFO: u32 = 6;
}
